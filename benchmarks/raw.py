"""What the benchmarks write beside their tables: the raw figures of every round."""

import csv
from collections.abc import Mapping, Sequence


def write_csv(
    path: str | None,  # None writes nothing
    columns: Mapping[str, Sequence[float | str]],  # name -> one entry a round, all of one length
) -> None:
    "One column a name, numbers with seven digits after the point."
    if path:
        with open(path, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for row in zip(*columns.values(), strict=True):
                writer.writerow([value if isinstance(value, str) else f"{value:.7f}" for value in row])
