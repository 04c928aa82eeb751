"""The two sets of user segments: how many, over how many features, how many members they have together, and the values once found."""

import dataclasses
import json
from dataclasses import dataclass

from workload import leaves

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


def save(workload, members, file):
    values = {name: [leaf.value for leaf in leaves(node)] for name, node in workload.segments.items()}
    file.write_text(json.dumps({"values": values, "members": members}))


def load(workload, file):
    """The workload with the values that were kept."""
    kept = json.loads(file.read_text())

    def fill(node, values):
        if node.parts:
            return dataclasses.replace(node, parts=tuple(fill(part, values) for part in node.parts))
        value = next(values)
        return dataclasses.replace(node, value=tuple(value) if isinstance(value, list) else value)

    segments = {name: fill(node, iter(kept["values"][name])) for name, node in workload.segments.items()}
    return dataclasses.replace(workload, segments=segments), kept["members"]
