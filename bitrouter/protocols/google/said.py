"""What a model said, from the parts that it was said in."""

from bitrouter import ir


class Said:
    """The blocks of one turn. Texts in a row are one text, and so are thoughts up to a signature.

    A signature with nothing to sign is a thought without text: it was on a text that is none, and
    stands after it.
    """

    def __init__(self) -> None:
        self.blocks: list[ir.Block] = []
        self._pieces: list[str] = []
        self._is_thought = False

    def add_text(self, text: str, *, thought: bool, signature: ir.Signature | None) -> None:
        """A piece of text, which may be empty."""
        if text:
            if self._pieces and self._is_thought != thought:
                self.close()
            self._is_thought = thought
            self._pieces.append(text)
        if signature is None:
            return
        if thought and self._pieces and self._is_thought:
            self.blocks.append(ir.Reasoning("".join(self._pieces), signature))
            self._pieces.clear()
        else:
            self.add(ir.Reasoning("", signature))

    def add(self, block: ir.Block) -> None:
        """A block that stands for itself."""
        self.close()
        self.blocks.append(block)

    def close(self) -> None:
        """Make a block of the pieces."""
        if self._pieces:
            text = "".join(self._pieces)
            self.blocks.append(ir.Reasoning(text) if self._is_thought else ir.Text(text))
            self._pieces.clear()
