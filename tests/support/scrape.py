"""GET /metrics as Prometheus reads it."""

from prometheus_client.parser import text_string_to_metric_families

from tests.support.router import RunningRouter

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(router: RunningRouter) -> Samples:
    """Every sample of GET /metrics."""
    async with router.http.get("/metrics", headers={"Accept": "text/plain"}) as response:
        assert response.content_type == "text/plain"
        text = await response.text()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def sample(samples: Samples, name: str, **labels: str) -> float:
    """The value of one series, 0 when it is not there."""
    return samples.get((name, frozenset(labels.items())), 0.0)


def total(samples: Samples, name: str) -> float:
    """The sum of all series of this name."""
    return sum(value for (series, _), value in samples.items() if series == name)
