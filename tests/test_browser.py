"""A browser that died in the middle of a test is started again, once, for that test."""

import pytest

killed = []


@pytest.mark.parametrize("which", [0, -1], ids=["chromium", "driver"])
def test_it_is_started_again(browser, which):
    browser.get("data:text/html,<title>before</title>")
    if which not in killed:
        killed.append(which)
        browser.processes[which].kill()
    browser.get("data:text/html,<title>after</title>")
    assert browser.title == "after"
