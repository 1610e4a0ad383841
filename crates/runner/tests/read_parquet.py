#!/usr/bin/env python3
"""Filters and sorts a report's tables in Parquet in pyarrow and pandas, as their readers do.

    tests/read_parquet.py TABLE.parquet TABLE.csv

The CSV beside it must tell the same. Exits with 77 where neither library is installed.
"""
import csv
import sys

try:
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet
except ImportError:
    pyarrow = None
try:
    import pandas
except ImportError:
    pandas = None


def read_csv(path):
    """The lines of the FID, by method."""
    with open(path, newline="", encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["metric"] == "fid"]
    return sorted((line["method"], line["source"], float(line["mean"])) for line in lines)


def read_pyarrow(path):
    """The same by pyarrow: filtered as it is read, then sorted."""
    schema = pyarrow.parquet.read_schema(path)
    for name in ("experiment", "method", "source", "metric"):
        kind = schema.field(name).type
        assert pyarrow.types.is_string(kind), f"{name} is {kind}"
    table = pyarrow.parquet.read_table(path, filters=[("metric", "=", "fid")])
    table = table.sort_by([("mean", "ascending"), ("method", "ascending")])
    means = table["mean"].to_pylist()
    assert means == sorted(means), means
    # Text is compared, too, not only read.
    first = table["method"][0].as_py()
    only = table.filter(pyarrow.compute.equal(table["method"], first))
    assert 0 < only.num_rows < table.num_rows, only.num_rows
    columns = [table[name].to_pylist() for name in ("method", "source", "mean")]
    return sorted(zip(*columns))


def read_pandas(path):
    """The same by pandas."""
    frame = pandas.read_parquet(path)
    frame = frame[frame["metric"] == "fid"].sort_values(["mean", "method"])
    assert frame["mean"].is_monotonic_increasing
    assert frame["n"].dropna().ge(1).all()
    return sorted(zip(frame["method"], frame["source"], frame["mean"]))


def main():
    parquet, text = sys.argv[1:]
    expected = read_csv(text)
    assert expected, "the CSV has no FID"
    readers = []
    if pyarrow:
        readers.append(read_pyarrow)
        # pandas reads Parquet by pyarrow.
        readers += [read_pandas] if pandas else []
    if not readers:
        print("neither pyarrow nor pandas is installed")
        sys.exit(77)
    for reader in readers:
        found = reader(parquet)
        assert found == expected, f"{reader.__name__}: {found} instead of {expected}"
    print(", ".join(reader.__name__ for reader in readers))


if __name__ == "__main__":
    main()
