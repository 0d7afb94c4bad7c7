"""From an applicant to a verification, from a work-list to the commune's answer. Pure."""

from collections.abc import Mapping
from typing import Any

from adapters.one_stop.records import Applicant
from adapters.owner_lists import complete
from adapters.spelling import iso_birth_date, tidy_name, tidy_number

NUMBER_MEMBERS = {12: "personalNumber", 9: "oldNumber"}


def verify_request(applicant: Applicant) -> dict[str, str]:
    """Ask whether the applicant is who they say; ValueError when something must be typed again."""
    number, birth = tidy_number(applicant.number), iso_birth_date(applicant.birth_date)
    if len(number) not in NUMBER_MEMBERS or not (number.isascii() and number.isdigit()):
        raise ValueError("the number has neither twelve nor nine digits")
    if birth is None:
        raise ValueError("the birth date is not a date, a month or a year")
    return {
        NUMBER_MEMBERS[len(number)]: number,
        "fullName": tidy_name(applicant.full_name),
        "birthDate": birth,
    }


def owner_list_reply(request: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """Answer every row of the request from the numbers known by registration."""
    return complete(request, known)
