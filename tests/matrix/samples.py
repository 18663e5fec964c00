"""Media of the smallest size, in base64. In the PNG's all of the alphabet's special characters."""

import base64
from typing import Final

PNG: Final = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\xfb\xff\xbf" * 3 + b"!").decode()
PDF: Final = base64.b64encode(b"%PDF-1.4\n%%EOF\n").decode()
WAV: Final = base64.b64encode(b"RIFF\x24\x00\x00\x00WAVEfmt ").decode()
