"""Writes holidays.tsv: `pip install holidays==0.109 && python holidays.py > holidays.tsv`."""

import sys

sys.path.pop(0)  # This file has the package's name.

import holidays

YEARS = range(2024, 2041)


def public(uf):
    return holidays.Brazil(subdiv=uf, years=YEARS, categories=("public",), language="pt_BR")


def rows(label, days, without=()):
    for day in sorted(days):
        for name in days.get_list(day):
            if (day, name) not in without:
                yield f"{label}\t{day}\t{name}"


national = public(None)
known = {(day, name) for day in national for name in national.get_list(day)}
print(f"# PyPI package holidays {holidays.__version__}, country BR, category public, {YEARS[0]} to {YEARS[-1]}.")
print("# BR: the whole country's; a state: what it has beside those. Written by holidays.py, which stands beside this file.")
print("# UF or BR\tdate\tname")
for row in rows("BR", national):
    print(row)
for uf in (code for code in holidays.Brazil.subdivisions if len(code) == 2):
    for row in rows(uf, public(uf), known):
        print(row)
