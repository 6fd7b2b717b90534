#!/usr/bin/env python3
"""Tasks of a server whose standard output nobody reads run on; what is lost of it is told."""
import re
import signal
import threading
import unittest

from running import ServerTest

LOST = rb'\[WARN\] \(main\) log: \d{7} bytes of the output were lost: nobody read it'


class UnreadOutput(ServerTest):
    def server_that_has_printed(self):
        """More than its pipe and its buffer hold, and nobody has read any of it."""
        server = self.server()
        self.environment['DIGDAG_CONFIG'] = f'client.http.endpoint=http://127.0.0.1:{server.port}'
        self.file('p/w.dig', '+a:\n  sh>: yes unread | head -c 9000000\n+b:\n  echo>: b\n')
        self.assertEqual(self.digdag('push', 'p', '--project', 'p', '-r', '1').code, 0)
        done = self.digdag('start', 'p', 'w', '--session', '2026-01-02', '--wait')
        self.assertEqual(done.code, 0, done.err)
        return server

    def test_tasks_go_on_and_what_was_lost_is_told_when_somebody_reads_again(self):
        server = self.server_that_has_printed()
        printed = bytearray()
        reader = threading.Thread(target=lambda: printed.extend(b''.join(self.lines_to(server.process.stdout, LOST))))
        reader.start()
        reader.join(timeout=60)
        self.assertIn(b'unread\nunread\n', printed)
        self.assertRegex(printed[-200:], LOST)
        code, _, _ = server.end()
        self.assertEqual(code, 143)

    @staticmethod
    def lines_to(stream, last):
        for line in stream:
            yield line
            if re.search(last, line):
                return

    def test_it_ends_although_nobody_ever_reads(self):
        server = self.server_that_has_printed()
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.process.wait(timeout=60), 143)


if __name__ == '__main__':
    unittest.main()
