"""A choice among ways: each makes an offer or refuses with its reason, and the cheapest offer is taken."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a way is not taken, or did not reach its end.

    Attributes
    ----------
    reason : str
        A sentence without its full stop.
    error : type
        What a public door raises where no way is left: ValueError where what was asked cannot be had,
        RuntimeError where it turned out so on the way.
    """

    reason: str
    error: type[Exception] = ValueError


@dataclass(frozen=True, kw_only=True)
class Offer(Generic[Answer]):
    """What a way would take, what it would certify, and how to take it.

    Attributes
    ----------
    way : str
        Its name.
    cost : float
        What it is predicted to take, in the unit of ``fastpath.core.costs``.
    certifies : str
        What its answer would guarantee.
    take : callable
        Returns the answer, or a refusal where the way fails after it began.
    """

    way: str
    cost: float
    certifies: str
    take: Callable[[], Answer | Refusal]


@dataclass(frozen=True, kw_only=True)
class Taken(Generic[Answer]):
    """The answer of the cheapest way that came to its end.

    Attributes
    ----------
    offer : Offer
        Which was taken.
    answer : object
        What it returned.
    refusals : tuple of str
        The reasons of the ways that refused, and then of those that failed; each once.
    dearer : tuple of Offer
        The offers that were not needed, by rising cost.
    """

    offer: Offer[Answer]
    answer: Answer
    refusals: tuple[str, ...]
    dearer: tuple[Offer[Answer], ...]


def take_cheapest(ways: Iterable[Offer[Answer] | Refusal]) -> Taken[Answer] | Refusal:
    """Take the cheapest offer; where it fails the next, and where none is left refuse with every reason.

    Of offers that cost the same, the one that stands first is taken.
    """
    found = list(ways)
    refusals = [way for way in found if isinstance(way, Refusal)]
    offers = sorted((way for way in found if isinstance(way, Offer)), key=lambda way: way.cost)
    for place, offer in enumerate(offers):
        answer = offer.take()
        if not isinstance(answer, Refusal):
            return Taken(
                offer=offer,
                answer=answer,
                refusals=_reasons(refusals),
                dearer=tuple(offers[place + 1 :]),
            )
        refusals.append(answer)
    return Refusal(reason="; ".join(_reasons(refusals)), error=refusals[-1].error)


def _reasons(refusals: Iterable[Refusal]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(refusal.reason for refusal in refusals))
