"""The two sets of user segments: how many, over how many features, and how many members they have together."""

from dataclasses import dataclass

# Members of all segments together, per user: 20 million of a million users.
MEMBERSHIPS_PER_USER = 20


@dataclass(frozen=True)
class Kind:
    segments: int
    features: int

    def wanted(self, data):
        """Members of all segments together."""
        users = int(data.parent.name.split("-")[0])
        return MEMBERSHIPS_PER_USER * users


KINDS = {"hundred": Kind(100, 100), "thousand": Kind(1000, 500)}
