#!/usr/bin/env python3
"""A server whose PostgreSQL has gone away ends all the same when it is told to; the next one goes on with what it could not store."""
import signal
import unittest

from on_postgresql import PostgresqlServerTest


class DatabaseAway(PostgresqlServerTest):
    # decisions E-52
    def test_a_shutdown_waits_for_tasks_but_not_for_the_database(self):
        server = self.one()
        self.push(server, w=f'+a:\n  sh>: echo $$ >> {self.project}/ran; until test -e {self.project}/go; do sleep 0.05; done\n+b:\n  echo>: b\n')
        attempt = self.start_attempt(server, 'w')
        self.wait_for('the command', lambda: self.exists('ran'))
        self.databases.halt('immediate')
        try:
            server.process.send_signal(signal.SIGTERM)
            self.file('go', '')
            log = server.process.communicate(timeout=60)[0].decode()
        finally:
            self.databases.start()
        self.assertEqual(server.process.returncode, 143, log)
        self.assertIn('The database does not answer', log)
        self.assertTrue(log.rstrip().endswith('Shutdown completed'), log)
        self.wait_for_status(self.one(), attempt, 'success')
        self.assertEqual(len(self.lines('ran')), 2, 'its end was not stored')

    def test_one_that_has_nothing_to_do_ends_too(self):
        server = self.one()
        self.wait_for('the begin', lambda: server.get('/api/ready').status == 200)
        self.databases.halt('immediate')
        try:
            code, log, _ = server.end()
        finally:
            self.databases.start()
        self.assertEqual(code, 143, log)


if __name__ == '__main__':
    unittest.main()
