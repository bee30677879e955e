"""Probing from the edge, told in the words of the admin side."""

from penstock.admin.edge_votes import ClusterVotes, EdgeProbing, EndpointVotes
from penstock.signals.hds import HealthDiscovery


def edge_probing(edge: HealthDiscovery) -> EdgeProbing:
    """Return how it goes, and how all votes stand."""
    facts = edge.facts()
    return EdgeProbing(
        votes={
            region: {
                name: ClusterVotes(
                    votes.checkers,
                    {
                        key: EndpointVotes(counted.well, counted.ill, counted.at if counted.live else None)
                        for key, counted in votes.endpoints.items()
                    },
                )
                for name, votes in by.items()
            }
            for region, by in edge.votes().items()
        },
        streams=facts.streams,
        checkers=facts.checkers,
        silent=facts.silent,
        unplaced=facts.unplaced,
        reports=facts.reports,
        refused=facts.refused,
        expired=facts.expired,
    )
