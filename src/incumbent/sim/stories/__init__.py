"""Stories: short scripts over the pure replica whose trace shows when, who, what and why. See docs/reference/stories.md."""
