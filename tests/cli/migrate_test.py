"""`digdag migrate` on a directory (spec/cli.md 6.6); on PostgreSQL: tests/store/schema_test.py."""
import os
import subprocess
import unittest

from program import ProgramTest


class MigrateTest(ProgramTest):
    # cli 11.108, server 23.37
    def test_check_tells_what_run_would_do(self):
        self.assertEqual(self.digdag('migrate', 'check', '-o', 'db').out, 'No table exist\n')
        self.assertFalse(os.path.exists(os.path.join(self.project, 'db')), 'check makes nothing')
        self.assertEqual(self.digdag('migrate', 'run', '-o', 'db').out, 'Migrations successfully finished\n')
        self.assertEqual(self.digdag('migrate', 'run', '-o', 'db').out, 'No update\n')
        self.assertEqual(self.digdag('migrate', 'check', '-o', 'db').out, 'No update\n')

    # cli 11.108
    def test_the_database_may_stand_in_a_configuration_file(self):
        self.file('server.properties', 'database.type = h2\ndatabase.path = db\n')
        self.assertEqual(self.digdag('migrate', 'run', '-c', 'server.properties').out, 'Migrations successfully finished\n')
        self.assertTrue(os.path.exists(os.path.join(self.project, 'db/digdag.sqlite')))

    def test_wrong_words(self):
        for words, message in [(['migrate'], 'Invalid parameters'), (['migrate', 'run', 'now', '-o', 'db'], 'Invalid parameters'),
                               (['migrate', 'back', '-o', 'db'], 'Invalid command'),
                               (['migrate', 'run'], '--database, or --config option is required')]:
            with self.subTest(words):
                done = self.digdag(*words)
                self.assertEqual((done.code, done.out), (1, ''))
                self.assertEqual(done.err.rstrip('\n').split('\n')[-1], f'error: {message}')

    def test_a_database_of_java_in_the_directory_is_not_overlooked(self):
        self.file('db/digdag.mv.db', 'H2')
        for word in ('check', 'run'):
            done = self.digdag('migrate', word, '-o', 'db')
            self.assertEqual((done.code, done.out), (1, ''))
            self.assertIn('error: db holds a database of the Java digdag (digdag.mv.db), which this one cannot read', done.err)
            self.assertIn('hint: name another directory and push your projects again', done.err)

    def test_one_process_uses_a_directory(self):
        self.digdag('migrate', 'run', '-o', 'db')
        with subprocess.Popen(['flock', 'db/digdag.lock', 'cat'], cwd=self.project, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            holder.stdin.write(b'locked\n')
            holder.stdin.flush()
            self.assertEqual(holder.stdout.readline(), b'locked\n')
            done = self.digdag('migrate', 'run', '-o', 'db')
            self.assertEqual(done.code, 1)
            self.assertRegex(done.err, r'error: db is in use by pid \d+')


if __name__ == '__main__':
    unittest.main()
