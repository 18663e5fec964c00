"""Images, documents and sounds as clients spell them."""

import base64

import pytest

from bitrouter.errors import InvalidRequest
from bitrouter.ir import Media
from bitrouter.protocols.media import (
    as_text,
    audio_format,
    data_url,
    from_base64,
    from_url,
    kind_of,
    standard_base64,
    type_by_name,
)

PIXEL = base64.b64encode(b"\x89PNG\xfb\xff\xfe").decode()


@pytest.mark.parametrize(
    ("url", "media"),
    [
        (f"data:image/png;base64,{PIXEL}", Media("image", "image/png", data=PIXEL)),
        (f"DATA:image/PNG;charset=x;BASE64,{PIXEL}", Media("image", "image/png", data=PIXEL)),
        (
            f"data:application/pdf;name=a.pdf;base64,{PIXEL}",
            Media("document", "application/pdf", data=PIXEL),
        ),
        ("data:image/svg+xml,%3Csvg/%3E", Media("image", "image/svg+xml", data="PHN2Zy8+")),
        ("data:,hi%20there", Media("image", "image/png", data="aGkgdGhlcmU=")),
        (
            f"data:image/png;base64,{PIXEL.replace('+', '%2B')}",
            Media("image", "image/png", data=PIXEL),
        ),
        ("https://x.example/a.png", Media("image", url="https://x.example/a.png")),
        ("HTTP://x.example/a", Media("image", url="HTTP://x.example/a")),
    ],
)
def test_image_url(url: str, media: Media) -> None:
    assert from_url(url, "image", "messages[0]") == media


@pytest.mark.parametrize(
    "url",
    [
        *("", "file:///etc/passwd", "gs://b/o", "ftp://x", "data:image/png"),
        *("data:image/png;base64,%ff", "data:image/png;base64,ü"),
    ],
)
def test_url_that_nobody_would_fetch_is_refused_with_its_place(url: str) -> None:
    with pytest.raises(InvalidRequest, match=r"messages\[0\]"):
        from_url(url, "image", "messages[0]")


@pytest.mark.parametrize(
    "spelled", [b"\xfb\xff\xfe\x00", b"a", b"ab", b"abc", b"", bytes(range(256))]
)
def test_base64_is_brought_to_the_standard_alphabet(spelled: bytes) -> None:
    standard = base64.b64encode(spelled).decode()
    for other in (
        standard,
        standard.rstrip("="),
        base64.urlsafe_b64encode(spelled).decode(),
        base64.urlsafe_b64encode(spelled).decode().rstrip("="),
        base64.encodebytes(spelled).decode(),
    ):
        assert standard_base64(other, "x") == standard


@pytest.mark.parametrize("data", ["a", "a b*c", "äöü=", "abcde"])
def test_what_is_not_base64_is_refused(data: str) -> None:
    with pytest.raises(InvalidRequest, match="input is not base64"):
        standard_base64(data, "input")


def test_media_type_says_the_kind() -> None:
    kinds = {one: kind_of(one) for one in ("image/png", "audio/wav", "video/mp4", "text/plain")}

    assert kinds == {
        "image/png": "image",
        "audio/wav": "audio",
        "video/mp4": "video",
        "text/plain": "document",
    }
    assert from_base64("YQ==", "IMAGE/PNG; q=1", "x") == Media("image", "image/png", data="YQ==")


def test_data_url_says_type_and_data() -> None:
    assert data_url(Media("image", "image/png", data="YQ==")) == "data:image/png;base64,YQ=="


@pytest.mark.parametrize(
    ("media", "text"),
    [
        (Media("document", text="hi"), "hi"),
        (Media("document", "text/plain", data="aMOk"), "hä"),
        (Media("document", "application/pdf", data="aMOk"), None),
        (Media("document", "text/plain", data="/w=="), None),
        (Media("document", url="https://x.example"), None),
    ],
)
def test_text_of_a_document(media: Media, text: str | None) -> None:
    assert as_text(media) == text


def test_type_by_the_end_of_a_name() -> None:
    assert type_by_name("https://x.example/a/b.webp?x=1#y", "image/jpeg") == "image/webp"
    assert type_by_name("https://x.example/a", "image/jpeg") == "image/jpeg"


def test_openais_words_for_sounds() -> None:
    assert [audio_format(one) for one in ("audio/wav", "audio/mpeg", "audio/ogg", None)] == [
        "wav",
        "mp3",
        None,
        None,
    ]


def test_name_that_is_no_url_suggests_no_type() -> None:
    assert type_by_name("http://[x/a.png", "image/jpeg") == "image/jpeg"


@pytest.mark.parametrize("size", [1 << 18, (1 << 18) + 1, 1 << 19, (1 << 19) + 4])
@pytest.mark.parametrize("padding", ["", "=", "=="])
def test_a_large_one_is_base64_by_the_same_rule(size: int, padding: str) -> None:
    data = "a" * (size // 4 * 4 - len(padding)) + padding

    assert from_base64(data, "image/png", "x").data == data
    for place in (0, size // 2, len(data) - 3):
        with pytest.raises(InvalidRequest, match="not base64"):
            from_base64(data[:place] + "!" + data[place + 1 :], "image/png", "x")
