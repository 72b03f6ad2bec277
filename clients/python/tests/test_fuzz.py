"""Whatever a provider or a caller sends: readers never raise, and lose no byte that a caller should get."""

import json
import random
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from watermaster import estimate, form, header, request, stream
from watermaster.call import Ask, Call

WIRES = ("chat", "completions", "responses", "messages", "embeddings", "images")
fast = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))

wires = st.sampled_from(WIRES)
usages = st.sampled_from(
    [
        {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 5},
        {"prompt_tokens": -1, "completion_tokens": "many", "prompt_tokens_details": [1]},
        {},
        None,
        7,
    ]
)
words = st.text(max_size=12)
events = st.one_of(
    st.fixed_dictionaries({"choices": st.just([]), "usage": usages}),
    st.fixed_dictionaries(
        {
            "choices": st.lists(
                st.fixed_dictionaries({"delta": st.fixed_dictionaries({"content": words})}), min_size=1, max_size=2
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["message_start", "message_delta", "message_stop", "error", "ping"]),
            "message": st.one_of(words, st.fixed_dictionaries({"usage": usages})),
            "usage": usages,
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["response.created", "response.completed", "response.failed"]),
            "response": st.one_of(
                words,
                st.fixed_dictionaries(
                    {
                        "id": words,
                        "usage": usages,
                        "error": st.one_of(st.none(), st.fixed_dictionaries({"code": words})),
                    }
                ),
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "error": st.one_of(
                words, st.none(), st.fixed_dictionaries({"type": words, "code": st.one_of(st.integers(), words)})
            )
        }
    ),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
        max_leaves=6,
    ),
)
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
lines = st.one_of(
    st.builds(
        lambda value, space: b"data:" + space + json.dumps(value).encode(), events, st.sampled_from([b"", b" "])
    ),
    st.sampled_from(
        [
            b"data: [DONE]",
            b"data:[DONE]",
            b"event: error",
            b": comment",
            b"id: 1",
            b"data",
            b"data:",
            b"\xef\xbb\xbfdata: {}",
            b'data: {"choices":[],',
            b'data: "usage":{"prompt_tokens":1}}',
        ]
    ),
    st.binary(max_size=20),
)
streams = st.lists(st.tuples(lines, ends, st.one_of(st.just(b""), ends)), max_size=8).map(
    lambda parts: b"".join(map(b"".join, parts))
)


def cut(body: bytes, seed: int) -> list[bytes]:
    if seed == 0:
        return [body]
    chance, pieces = random.Random(seed), []
    while body:
        n = 1 if seed == 1 else chance.randint(0, 12)
        pieces.append(body[:n])
        body = body[n:]
    return pieces


def passed(reader: stream.Reader, pieces: list[bytes]) -> bytes:
    return b"".join(map(reader.feed, pieces)) + reader.close()


def blocks(body: bytes) -> tuple[list[bytes], bytes]:
    """A stream's events, each with the empty line that ends it, and what is left: the plainest way."""
    found, event = [], b""
    for line in re.findall(rb"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+\Z", body):
        event += line
        if line in (b"\r\n", b"\n", b"\r"):
            found.append(event)
            event = b""
    return found, event


def hidden(event: bytes) -> bool:
    """Whether an event tells the usage and nothing else."""
    data = [line.removeprefix(b"\xef\xbb\xbf") for line in re.split(rb"\r\n|\n|\r", event)]
    data = [line[5:].removeprefix(b" ") for line in data if line.startswith(b"data:")]
    try:
        value = json.loads(b"\n".join(data))
    except ValueError:
        return False
    return isinstance(value, dict) and value.get("choices") == [] and isinstance(value.get("usage"), dict)


@fast
@given(wires, streams, st.integers(0, 9))
def test_a_stream_passes_whole(wire: str, body: bytes, seed: int) -> None:
    reader = stream.Reader(wire)
    pieces = cut(body, seed)
    assert [reader.feed(piece) for piece in pieces] == pieces, "at once, as it came"
    assert reader.close() == b""


@fast
@given(st.sampled_from(("chat", "completions")), streams, st.integers(0, 9))
def test_only_the_usage_is_hidden(wire: str, body: bytes, seed: int) -> None:
    got = passed(stream.Reader(wire, hide=True), cut(body, seed))
    done, rest = blocks(body)
    kept = b"".join(event for event in [*done, rest] if not hidden(event))
    # An event that is hidden leaves the mark of the stream's beginning behind, or takes it along.
    assert got.removeprefix(b"\xef\xbb\xbf") == kept.removeprefix(b"\xef\xbb\xbf")


@fast
@given(wires, streams, st.booleans(), st.integers(1, 9))
def test_pieces_change_nothing(wire: str, body: bytes, hide: bool, seed: int) -> None:
    whole, pieces = stream.Reader(wire, hide), stream.Reader(wire, hide)
    assert passed(whole, cut(body, 0)) == passed(pieces, cut(body, seed))
    assert (whole.usage, whole.ended, whole.failure, whole.response_id) == (
        pieces.usage,
        pieces.ended,
        pieces.failure,
        pieces.response_id,
    )


@fast
@given(st.sampled_from(("chat", "completions")), streams)
def test_what_is_complete_is_not_held_back(wire: str, body: bytes) -> None:
    reader, out = stream.Reader(wire, hide=True), b""
    for at in range(len(body)):
        out += reader.feed(body[at : at + 1])
        if body[at : at + 1] == b"\r":
            continue  # half of a line's end, perhaps
        done, _ = blocks(body[: at + 1])
        assert out.removeprefix(b"\xef\xbb\xbf") == b"".join(e for e in done if not hidden(e)).removeprefix(
            b"\xef\xbb\xbf"
        )


@fast
@given(wires, st.one_of(st.binary(max_size=200), events.map(lambda e: json.dumps(e).encode())))
def test_any_body(wire: str, body: bytes) -> None:
    usage = stream.read_body(wire, body)
    if usage is not None:
        told = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.cache_write_input_tokens)
        assert all(amount is None or 0 <= amount <= 10**12 for amount in told)
        usage.message()
    stream.response_id(body)
    for status in (200, 400, 402, 413, 429, 500, 529):
        assert len(form.told_body(status, body).encode()) <= 4096


@fast
@given(
    st.sampled_from(
        [
            "/v1/chat/completions",
            "/completions",
            "/responses/",
            "/v1/messages",
            "/embeddings",
            "/images/generations",
            "/openai/deployments/d/chat/completions",
            "/models",
        ]
    ),
    st.one_of(
        st.binary(max_size=80),
        st.fixed_dictionaries(
            {"model": st.one_of(words, st.none())},
            optional=dict.fromkeys(
                (
                    "messages",
                    "input",
                    "prompt",
                    "system",
                    "tools",
                    "n",
                    "max_tokens",
                    "best_of",
                    "stream",
                    "stream_options",
                    "suffix",
                    "text",
                ),
                events,
            ),
        ).map(lambda body: json.dumps(body).encode()),
    ),
)
def test_any_request(path: str, body: bytes) -> None:
    got = request.read("POST", "http://127.0.0.1" + path, lambda: body)
    if got is not None:
        assert got.input_tokens >= 0 and got.model
        assert got.max_output_tokens is None or got.max_output_tokens >= 0
        assert all(amount >= 1 for amount in got.units.values())
        asked = Ask(Call(), got.model, got.input_tokens, "id", 0, got.max_output_tokens, units=got.units)
        asked.message("acme").SerializeToString()


@fast
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "x-watermaster-max-wait",
                    "X-Watermaster-Min-Quality",
                    "x-watermaster-route",
                    "x-watermaster-else",
                    "retry-after",
                    "x-ratelimit-a",
                ]
            ),
            words,
        ),
        max_size=6,
    )
)
def test_any_header(headers: list[tuple[str, str]]) -> None:
    try:
        call = header.said(headers)
    except header.Misspelt as wrong:
        assert "x-watermaster-" in str(wrong).lower()
    else:
        assert call.max_wait is None or 0 <= call.max_wait <= 86400
        assert call.min_quality is None or 0 <= call.min_quality <= 1
    assert not any(name.lower().startswith("x-watermaster") for name, _ in header.clean(headers))
    assert set(form.rate_headers(headers)) <= {"retry-after", "x-ratelimit-a"}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("0", 0),
        ("1.5", 1.5),
        ("500ms", 0.5),
        ("2m", 120),
        ("1m30s", 90),
        ("1h", 3600),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("2 m", None),
        ("25h", None),
    ],
)
def test_patience(text: str, want: Any) -> None:
    if want is None:
        with pytest.raises(header.Misspelt):
            header.seconds(text)
    else:
        assert header.said([("X-Watermaster-Max-Wait", text)]) == Call(max_wait=want)


@fast
@given(st.text(max_size=300))
def test_tokens_by_the_byte(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    plain = [c for c in data if c < 0x80]
    symbols = sum(c in b'0123456789{}[]":,;=<>()/\\+_|#$%&*@~^' for c in plain)
    white = sum(c in b" \t\n\r" for c in plain)
    heavy = bool(plain) and (symbols * 4 >= len(plain) or (len(plain) >= 64 and white * 32 < len(plain)))
    size = 2 if heavy else 4
    want = (len(plain) + size - 1) // size + (len(data) - len(plain) + 2) // 3
    assert estimate.tokens(text) == want


def test_an_event_of_megabytes_in_pieces_is_read_once() -> None:
    """Images come as one line of a stream; to search it anew for each piece would take minutes."""
    reader = stream.Reader("responses")
    seen = 0

    class Counting:
        """Counts the bytes that are searched."""

        def search(self, data: bytes, start: int = 0) -> Any:
            nonlocal seen
            found = real.search(data, start)
            seen += (found.end() if found else len(data)) - start
            return found

        split = staticmethod(stream._LINE.split)

    real, body = stream._LINE, b'data: {"type":"response.image","b64":"' + b"A" * (1 << 20) + b'"}\n\n'
    stream._LINE = Counting()  # type: ignore[assignment]
    try:
        for at in range(0, len(body), 4096):
            reader.feed(body[at : at + 4096])
    finally:
        stream._LINE = real
    assert seen < 3 * len(body)
