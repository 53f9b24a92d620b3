"""Writes brl.tsv: `pip install babel==2.18.0 && python3 brl.py > brl.tsv`.

How CLDR, whose data that package carries, writes money and dates in Brazil. The seed prints money without CLDR's space: see the test.
"""

import datetime
import decimal

import babel
from babel.core import get_cldr_version
from babel.dates import format_date
from babel.numbers import format_currency

AMOUNTS = sorted({
    *range(0, 12), 99, 100, 101, 110, 999, 1000, 1234, 9999, 10000, 12300, 99999, 100000, 100001, 123456, 999999, 1000000, 12345678,
    99999999, 100000000, 123456789, 1234567890, 12345678901, 123456789012, 999999999999, 1000000000000, 99999999999999,
    *(7 * 10**n + 5 for n in range(1, 14)),
})
DAYS = sorted({
    *(datetime.date(2026, month, day) for month in range(1, 13) for day in (1, 9, 10, 28)),
    *(datetime.date(year, month, day) for year in (1997, 2000, 2023, 2024, 2099) for month, day in ((1, 1), (2, 28), (7, 19), (12, 31))),
    datetime.date(2024, 2, 29),
})


def main():
    print(f"# PyPI package babel {babel.__version__} (CLDR {get_cldr_version()}), locale pt_BR. Written by brl.py, which stands beside this file.")
    print("# money\tcentavos\tas CLDR writes it (with its no-break space)")
    print("# date\tISO 8601\tas CLDR's short form writes it")
    for centavos in [*AMOUNTS, *(-amount for amount in AMOUNTS if amount)]:
        print("money", centavos, format_currency(decimal.Decimal(centavos) / 100, "BRL", locale="pt_BR"), sep="\t")
    for day in DAYS:
        print("date", day.isoformat(), format_date(day, "short", locale="pt_BR"), sep="\t")


main()
