"""The Penstock program: the composition root, and everything that touches the world."""
