"""Images, documents and sounds in a user's turn."""

from typing import Final

from tests.matrix.cell import Cell
from tests.matrix.feature import feature
from tests.matrix.outcome import lossy, refused
from tests.matrix.question import Image, Part, Pdf, PlainDocument, Sound, User
from tests.matrix.samples import PDF, PNG, WAV
from tests.support.strict.seen import SeenMedia

GROUP: Final = "Media"
_URL: Final = "https://example.com/a%20picture.png?x=1"


async def _only_media(cell: Cell, *parts: Part) -> SeenMedia:
    await cell.ask(User("[[text]] Look: ", *parts))
    [turn] = cell.seen.turns
    assert turn.text == "[[text]] Look: "
    [media] = turn.media
    return media


@feature(GROUP, "image in base64", modes="either")
async def image(cell: Cell) -> None:
    media = await _only_media(cell, Image(PNG))
    assert media == SeenMedia("image", "image/png", PNG)


@feature(GROUP, "image by address", modes="either")
async def image_url(cell: Cell) -> None:
    media = await _only_media(cell, Image(url=_URL))
    assert (media.kind, media.url) == ("image", _URL)


@feature(
    GROUP,
    "detail of an image",
    modes="either",
    clients=("chat", "responses"),
    to={"anthropic": lossy("detail"), "google": lossy("detail")},
)
async def detail(cell: Cell) -> None:
    media = await _only_media(cell, Image(url=_URL, detail="high"))
    assert media.url == _URL


@feature(
    GROUP,
    "image of a type that only Google takes",
    modes="either",
    to={
        "chat": refused("image/heic"),
        "responses": refused("image/heic"),
        "anthropic": refused("image/heic"),
    },
    between={
        (name, name): refused("image/heic", "the provider refuses it")
        for name in ("chat", "responses", "anthropic")
    },
)
async def image_type(cell: Cell) -> None:
    media = await _only_media(cell, Image(PNG, "image/heic"))
    assert media.media_type == "image/heic"


@feature(GROUP, "PDF in base64", modes="either")
async def pdf(cell: Cell) -> None:
    media = await _only_media(cell, Pdf(PDF))
    assert media == SeenMedia("document", "application/pdf", PDF)


@feature(
    GROUP,
    "PDF by address",
    modes="either",
    clients=("responses", "anthropic", "google"),
    to={"chat": refused("by its URL")},
)
async def pdf_url(cell: Cell) -> None:
    media = await _only_media(cell, Pdf(url="https://example.com/a.pdf"))
    assert (media.kind, media.url) == ("document", "https://example.com/a.pdf")


@feature(
    GROUP,
    "plain text as a document",
    modes="either",
    clients=("anthropic", "google"),
    to={
        "chat": lossy(note="becomes a text of the turn"),
        "responses": lossy(note="becomes a text of the turn"),
        "google": lossy(note="becomes a text of the turn"),
    },
)
async def text_document(cell: Cell) -> None:
    await cell.ask(User("[[text]]", PlainDocument("Dear Züri")))
    [turn] = cell.seen.turns
    if cell.outcome.note:
        assert "Dear Züri" in turn.text
    else:
        [media] = turn.media
        assert (media.kind, media.media_type) == ("document", "text/plain")


@feature(
    GROUP,
    "sound",
    modes="either",
    clients=("chat", "responses", "google"),
    to={"anthropic": refused("audio")},
)
async def sound(cell: Cell) -> None:
    media = await _only_media(cell, Sound(WAV))
    assert media == SeenMedia("audio", "audio/wav", WAV)
