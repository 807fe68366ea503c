import sys

from sploot.app import main

sys.exit(main())
