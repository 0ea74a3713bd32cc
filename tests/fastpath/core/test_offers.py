"""A choice among ways: the cheapest offer that comes to its end, and every reason where none does."""

from typing import Any

from fastpath.core.offers import Offer, Refusal, take_cheapest


def offer(way: str, cost: float, answer: Any) -> Offer[Any]:
    return Offer(way=way, cost=cost, certifies=f"{way} certifies", take=lambda: answer)


def test_the_cheapest_offer_is_taken_and_the_dearer_ones_are_told_by_rising_cost() -> None:
    taken = take_cheapest(
        [offer("a", 3, 1), Refusal(reason="b is not"), offer("c", 1, 2), offer("d", 2, 3)]
    )
    assert not isinstance(taken, Refusal)
    assert (taken.offer.way, taken.answer, taken.refusals) == ("c", 2, ("b is not",))
    assert [dearer.way for dearer in taken.dearer] == ["d", "a"]


def test_where_a_way_fails_the_next_cheapest_is_taken_and_its_reason_is_kept() -> None:
    taken = take_cheapest([offer("a", 3, 1), offer("c", 1, Refusal(reason="c failed"))])
    assert not isinstance(taken, Refusal)
    assert (taken.answer, taken.refusals, taken.dearer) == (1, ("c failed",), ())


def test_of_offers_that_cost_the_same_the_first_is_taken() -> None:
    taken = take_cheapest([offer("a", 1, "first"), offer("b", 1, "second")])
    assert not isinstance(taken, Refusal)
    assert taken.answer == "first"


def test_where_no_way_is_left_every_reason_is_given_once() -> None:
    refusal = Refusal(reason="it cannot be")
    found = take_cheapest([refusal, offer("a", 1, Refusal(reason="a failed")), refusal])
    assert found == Refusal(reason="it cannot be; a failed")


def test_what_is_not_the_cheapest_is_not_begun() -> None:
    begun: list[str] = []

    def take(way: str) -> str:
        begun.append(way)
        return way

    ways = [
        Offer(way=w, cost=c, certifies="", take=lambda w=w: take(w))
        for w, c in (("a", 2), ("b", 1))
    ]
    take_cheapest(ways)
    assert begun == ["b"]
