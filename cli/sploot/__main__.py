import sys

from sploot.main import main

sys.exit(main())
