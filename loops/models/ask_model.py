"""The worker of `ask`: one language model of a GGUF file, by llama.cpp, in a process without key, network and folder.

The text of messages is never read for the marks by which a model knows roles: only the template between them is.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

from cyllama.llama import llama_cpp

from tlsrt import InvalidArgument
from tlsrt.worker import worker

READ_AT_ONCE = 16  # tokens of the messages between two looks whether the caller has gone
_HELD_MOST = 8  # tokens that a character can be spread over
_BLOCK = 1 << 20

llama_cpp.disable_logging()


class Model:
    """A model that is loaded, with room for one conversation."""

    def __init__(self, path: str, sha256: str, context: int, threads: int) -> None:
        self.path, self.context = path, context
        begun = _state(path)
        self.sha256 = _digest(path)
        if sha256 not in ("", self.sha256):
            raise InvalidArgument(f"the model is not the one that `sha256` names: {path} has {self.sha256}")
        with_file = llama_cpp.LlamaModelParams()
        with_file.n_gpu_layers = 0
        _have_copied(with_file)
        try:
            self._model = llama_cpp.LlamaModel(path, with_file, False)
        except (ValueError, RuntimeError, OSError) as error:
            raise InvalidArgument(f"{path} is no model that llama.cpp reads: {error}") from None
        if _state(path) != begun or _digest(path) != self.sha256:  # what was read is perhaps not what was hashed
            raise InvalidArgument(f"the model {path} was changed while it was loaded: ask again when it is whole")
        with_room = llama_cpp.LlamaContextParams()
        with_room.n_ctx = context
        with_room.n_threads = with_room.n_threads_batch = threads
        self._context = llama_cpp.LlamaContext(self._model, with_room, False)
        self._words = self._model.get_vocab()

    def prompt(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """Return messages as tokens, in the model's own template. Raises InvalidArgument for a model without one."""
        mark = secrets.token_hex(8)  # no text can have it in it
        shown = [llama_cpp.LlamaChatMessage(role, f"{mark}{at:04d}") for at, (role, _) in enumerate(messages)]
        template = self._model.get_default_chat_template()
        try:
            text = self._model.chat_apply_template(template, shown, True)
        except (ValueError, RuntimeError, TypeError) as error:
            raise InvalidArgument(f"the model has no template that llama.cpp knows: {error}") from None
        tokens: list[int] = []
        between = text.split(mark)
        for at, piece in enumerate(between):
            if at:
                content = messages[int(piece[:4])][1]
                tokens += self._words.tokenize(content, False, False)
                piece = piece[4:]
            if piece:
                tokens += self._words.tokenize(piece, not at, True)
        return tokens

    def answer(
        self, prompt: Sequence[int], grammar: str, tokens: int, temperature: float, seed: int
    ) -> Iterator[dict[str, Any]]:
        """Give how far it has read, pieces of text, and why it ended."""
        self._context.memory_seq_rm(-1, -1, -1)  # nothing of another conversation
        for at in range(0, len(prompt), READ_AT_ONCE):
            part = list(prompt[at : at + READ_AT_ONCE])
            self._context.decode(llama_cpp.llama_batch_get_one(part, at))
            yield {"read": at + len(part)}
        sampler = self._sampler("", temperature, seed)
        token = sampler.sample(self._context, -1)
        if grammar and self._text([token]).startswith("{"):  # a call; words need no grammar, which costs half the speed
            sampler = self._sampler(grammar, temperature, seed)
            token = sampler.sample(self._context, -1)
        held: list[int] = []
        for count in range(tokens):
            token = token if not count else sampler.sample(self._context, -1)
            if self._words.is_eog(token):
                if held:
                    yield {"text": self._text(held)}
                yield {"end": "stop", "tokens": count}
                return
            held.append(token)
            text = self._text(held)
            if not text.endswith("\ufffd") or len(held) >= _HELD_MOST:
                held.clear()
                yield {"text": text}
            self._context.decode(llama_cpp.llama_batch_get_one([token], len(prompt) + count))
        yield {"end": "length", "tokens": tokens}

    def _text(self, tokens: list[int]) -> str:
        if len(tokens) == 1:
            return str(self._words.token_to_piece(tokens[0], 0, False))
        return str(self._words.detokenize(tokens, 256, False, False))

    def _sampler(self, grammar: str, temperature: float, seed: int) -> Any:
        made = llama_cpp.LlamaSampler(llama_cpp.LlamaSamplerChainParams())
        if grammar:
            made.add_grammar(self._words, grammar, "root")
        if temperature <= 0:
            made.add_greedy()
            return made
        made.add_top_k(40)
        made.add_top_p(0.95, 1)
        made.add_temp(temperature)
        made.add_dist(seed)
        return made


_loaded: list[Model] = []


def _have_copied(parameters: Any) -> None:
    """Have the file read into memory: one that is mapped could be changed while its model answers."""
    if hasattr(parameters, "load_mode"):
        parameters.load_mode = 0  # LLAMA_LOAD_MODE_NONE, of llama.cpp since 2026
    else:
        parameters.use_mmap = False


def _state(path: str) -> tuple[int, ...]:
    """Return which file it is, and when it was changed last; () where that cannot be told."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise InvalidArgument(
            f"the model {path} cannot be read: {error.strerror}; name it under `read` of the program too"
        ) from None
    return digest.hexdigest()


def _model(path: str, sha256: str, context: int) -> Model:
    if not _loaded:
        _loaded.append(Model(path, sha256, context, len(os.sched_getaffinity(0))))
    return _loaded[0]


@worker
def load(path: str, sha256: str, context: int) -> dict[str, Any]:
    """Load the model, if it is not loaded, and return what it is."""
    model = _model(path, sha256, context)
    return {
        "sha256": model.sha256, "description": str(model._model.desc), "parameters": int(model._model.n_params),
        "trained_context": int(model._model.n_ctx_train), "engine": f"cyllama {version('cyllama')}",
    }  # fmt: skip


@worker
def answer(
    path: str, sha256: str, context: int, messages: list[tuple[str, str]], grammar: str, tokens: int,
    temperature: float, seed: int,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Answer messages, (role, text) each, with at most so many tokens."""
    model = _model(path, sha256, context)
    prompt = model.prompt(messages)
    if len(prompt) + tokens > context:
        raise InvalidArgument(
            f"the messages have {len(prompt)} tokens, and with {tokens} for the answer that is more than the "
            f"{context} of the model: send less, or raise `context` of the options"
        )
    yield {"prompt": len(prompt), "sha256": model.sha256}
    yield from model.answer(prompt, grammar, tokens, temperature, seed)
