#!/usr/bin/env python3
"""Runs that are too large for every commit: 10 GiB of output, workflows of 100,000 tasks. Memory is bounded, time is not asserted.

usage: large.py        with DIGDAG_BINARY
"""
import os
import resource
import subprocess
import unittest

from program import BINARY, SESSION, ProgramTest


class Large(ProgramTest):
    def run_measured(self, text, *words):
        """Exit code, bytes on standard output, and the largest resident set of a process of this run in MB."""
        self.file('w.dig', text)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            process = subprocess.Popen([BINARY, 'run', 'w.dig', '-q', '--no-save', *SESSION, *words], cwd=self.project, env=self.environment,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            size = 0
            while piece := os.read(process.stdout.fileno(), 1 << 20):
                size += len(piece)
            code = process.wait()
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
            os.write(write, f'{code} {size} {peak}'.encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as answer:
            figures = answer.read().split()
        os.waitpid(pid, 0)
        code, size, peak = (int(figure) for figure in figures)
        print(f'{self._testMethodName}: {size} bytes of output, {peak} MB')
        return code, size, peak

    def test_ten_gibibytes_of_output_pass_in_flat_memory(self):
        code, size, peak = self.run_measured('+x:\n  sh>: head -c 10737418240 /dev/zero\n')
        self.assertEqual((code, size), (0, 10 << 30))
        self.assertLess(peak, 60)

    def test_a_parallel_loop_of_99000(self):
        code, size, peak = self.run_measured('+l:\n  loop>: 99000\n  _parallel: true\n  _do:\n    echo>: x\n')
        self.assertEqual((code, size), (0, 2 * 99000))
        self.assertLess(peak, 250)

    def test_a_chain_of_99000(self):
        code, size, peak = self.run_measured('+l:\n  loop>: 99000\n  _do:\n    echo>: x\n')
        self.assertEqual((code, size), (0, 2 * 99000))
        self.assertLess(peak, 250)

    def test_a_window_of_50_over_99000(self):
        code, size, peak = self.run_measured(
            '+l:\n  loop>: 99000\n  _parallel: {limit: 50, mode: window}\n  _do:\n    echo>: x\n')
        self.assertEqual((code, size), (0, 2 * 99000))
        self.assertLess(peak, 250)

    def test_a_thousand_groups_of_99(self):
        code, size, peak = self.run_measured(
            '+g:\n  loop>: 990\n  _parallel: true\n  _do:\n    +h:\n      loop>: 98\n      _parallel: true\n      _do:\n        echo>: x\n')
        self.assertEqual((code, size), (0, 2 * 990 * 98))
        self.assertLess(peak, 250)


if __name__ == '__main__':
    unittest.main()
