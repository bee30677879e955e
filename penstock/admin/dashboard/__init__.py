"""The dashboard: one page, its script and style, and the chart library, all served from this process.

Nothing is fetched from elsewhere: an operator's browser may be as cut off as the cluster it looks at.
"""
