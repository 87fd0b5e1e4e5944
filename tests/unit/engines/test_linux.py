"""Signals to processes that are gone."""

import os
import signal

from quarterdeck import linux


def test_a_signal_to_a_reaped_process_is_no_error():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    pidfd = os.pidfd_open(pid)
    os.waitpid(pid, 0)
    linux.signal_pidfd(pidfd, signal.SIGKILL)
    os.close(pidfd)
    assert linux.stat(pid)[0] == ""
