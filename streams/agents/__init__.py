"""The agents: thin loops that decode, call a pure function or one service, write and go on."""
