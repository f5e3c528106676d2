"""`python -m trio_chat` is `trio-chat`."""

import sys

from trio_chat.cli import main

sys.exit(main())
