"""In which order the endpoints of a route are asked for one request."""

from collections.abc import Sequence

from bitrouter.routing.table import Endpoint, Route


class Balancer:
    """Keeps the state of load_balance, beside the table so that a reload does not restart it.

    The choice is smooth weighted round robin, as nginx does it: each endpoint gains its weight, the
    richest is chosen and pays the total. Over any run of `total` requests each endpoint is chosen
    `weight` times, evenly spread. State is per route and its endpoints, and bounded by `forget`.
    """

    def __init__(self) -> None:
        self._credits: dict[str, dict[str, int]] = {}

    def order(self, route: Route, candidates: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """`candidates` in the order in which to ask them; the choice is made once a request."""
        if route.strategy == "priority" or len(candidates) < 2:
            return candidates
        chosen = self._choose(route, candidates)
        return (chosen, *(one for one in candidates if one is not chosen))

    def twin(self, label: str) -> "Balancer":
        """Another one that stands where this one does with the route of that label: to see what the
        next choice will be.
        """
        other = Balancer()
        other._credits = {label: dict(self._credits.get(label, {}))}
        return other

    def forget(self, keep: Sequence[str]) -> None:
        """Drop the state of all routes but `keep` (labels)."""
        self._credits = {name: self._credits[name] for name in keep if name in self._credits}

    def _choose(self, route: Route, candidates: Sequence[Endpoint]) -> Endpoint:
        credits = self._credits.setdefault(route.label, {})
        for endpoint in candidates:
            name = endpoint.label
            credits[name] = credits.get(name, 0) + endpoint.weight
        if len(credits) > len(route.endpoints):  # the route was replaced, and has others now
            current = {endpoint.label for endpoint in route.endpoints}
            for name in credits.keys() - current:
                del credits[name]
        chosen = max(candidates, key=lambda endpoint: credits[endpoint.label])
        credits[chosen.label] -= sum(endpoint.weight for endpoint in candidates)
        return chosen
