#!/usr/bin/env python3
"""Tasks of a server whose standard output nobody reads run on; what is lost of it is told."""
import signal
import unittest

from running import ServerTest


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
        code, log, _ = server.end()
        self.assertEqual(code, 143)
        self.assertIn('unread\nunread\n', log)
        self.assertRegex(log, r'\[WARN\] \(main\) log: \d{7} bytes of the output were lost: nobody read it')

    def test_it_ends_although_nobody_ever_reads(self):
        server = self.server_that_has_printed()
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.process.wait(timeout=60), 143)


if __name__ == '__main__':
    unittest.main()
