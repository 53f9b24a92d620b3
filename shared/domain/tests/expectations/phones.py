"""Writes phones.tsv: `pip install phonenumbers==9.0.18 && python3 phones.py > phones.tsv`.

What Google's libphonenumber, whose metadata that package carries, makes of numbers as Brazilians and their ERPs write them. All are made
up: the last digits count up.
"""

import phonenumbers
from phonenumbers import PhoneNumberType

KINDS = {PhoneNumberType.MOBILE: "mobile", PhoneNumberType.FIXED_LINE: "fixed", PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_or_mobile"}


def verdict(text):
    try:
        number = phonenumbers.parse(text, "BR")
    except phonenumbers.NumberParseException:
        return "unreadable", "-"
    if not phonenumbers.is_valid_number_for_region(number, "BR"):
        return "invalid", "-"
    kind = KINDS.get(phonenumbers.number_type(number), "other")
    return kind, phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def numbers():
    for area in range(10, 100):
        end = f"{1000 + area:04}"
        # The area code and the subscriber: nine digits, eight of a mobile before the ninth digit, a trunked radio's, a landline's.
        for subscriber in (f"98765-{end}", f"90000-{end}", f"8765-{end}", f"6765-{end}", f"7765-{end}", f"3321-{end}", f"2321-{end}", f"1321-{end}"):
            yield f"({area}) {subscriber}"
    for area in (11, 21, 49, 55, 68, 92):
        for subscriber in ("987651234", "912340000", "33211234", "87651234"):
            plain = f"{area}{subscriber}"
            for before in ("", "0", "+55", "55", "0055", "00 55 ", "+55 ", "+55 0", "+55 (0)", "550", "+", "+1", "+351 "):
                yield f"{before}{plain}"
        for carrier in (12, 14, 15, 21, 23, 25, 31, 36, 41, 43, 58, 91, 98, 99, 10, 16, 50):
            yield f"0{carrier}{area}987651234"
            yield f"0 {carrier} {area} 98765-1234"
        yield f"{area} 9 8765 1234"
        yield f"{area}.98765.1234"
        yield f"({area})98765-1234"
        yield f"{area}98765123"
        yield f"{area}9876512345"
        yield f"{area} 98765-1234 ramal 12"
        yield f"tel {area} 98765-1234"
    for text in ("987651234", "8765-1234", "98765-1234", "190", "0800 123 4567", "4004-1234", "0300 123 4567", "0", "000000000000", ""):
        yield text


def main():
    print(f"# PyPI package phonenumbers {phonenumbers.__version__} (libphonenumber's metadata), region BR. Written by phones.py, which stands beside this file.")
    print("# as written\tmobile, fixed, other, invalid or unreadable\tE.164")
    for text in dict.fromkeys(numbers()):
        print(text, *verdict(text), sep="\t")


main()
