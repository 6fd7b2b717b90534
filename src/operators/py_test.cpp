#include "operators/script_test.h"

namespace digdag::operators {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;
using testing::StartsWith;

class Py : public ScriptTest {
 protected:
  /// What `tasks.f` prints, where tasks.py is this text.
  std::string output_of(std::string_view module, std::string_view local = "{}", std::string_view function = "tasks.f") {
    const Ended ended = call(module, local, function);
    EXPECT_EQ(ended.error, "");
    return ended.output;
  }
  engine::TaskResult result_of(std::string_view module, std::string_view local = "{}") {
    const Ended ended = call(module, local, "tasks.f");
    EXPECT_EQ(ended.error, "");
    return ended.result.value_or(engine::TaskResult{});
  }
  std::string error_of(std::string_view module, std::string_view local = "{}", std::string_view function = "tasks.f") {
    return call(module, local, function).error;
  }
  Ended call(std::string_view module, std::string_view local, std::string_view function) {
    file("tasks.py", module);
    Value keys = Value::object({{"py>", Value(function)}});
    merge(keys, parse_json(local));
    return run("py", to_json(keys), R"({"session_date": "2026-01-02"})");
  }
};

// operators 14.106
TEST_F(Py, CallsAFunctionWithTheParametersItAsksFor) {
  EXPECT_EQ(output_of("def f(name, greeting='Hello'):\n  print('%s %s' % (greeting, name))", R"({"name": "Wörld"})"), "Hello Wörld\n");
  EXPECT_EQ(output_of("def f(a=None, b=1, *args, **kw):\n  print(a, b, len(args))", R"({"b": 2})"), "None 2 0\n");
  EXPECT_EQ(output_of("def f(a, b, c):\n  print(a, b, c)", R"({"a": 1, "b": [1.5, null, true], "c": {"x": "y"}})"),
            "1 [1.5, None, True] {'x': 'y'}\n");
}

// operators 14.107
TEST_F(Py, GivesAllParametersToAFunctionThatTakesAnyKeyword) {
  EXPECT_EQ(output_of("def f(only, **kw):\n  print(only, 'only' in kw, kw['session_date'])", R"({"only": "here"})"),
            "here False 2026-01-02\n");
}

// operators 14.108
TEST_F(Py, BindsKeywordOnlyParametersByName) {
  EXPECT_EQ(output_of("def f(*, a, b=2):\n  print(a, b)", R"({"a": 1})"), "1 2\n");
  EXPECT_THAT(error_of("def f(*, a):\n  pass"), HasSubstr("Method 'f' requires parameter 'a' but not set (TypeError)"));
}

// operators 14.106
TEST_F(Py, SaysWhichParameterIsMissing) {
  EXPECT_THAT(error_of("def f(a, b=1):\n  pass"), StartsWith("Python command failed with code 1\nError messages from python: Method 'f' "
                                                             "requires parameter 'a' but not set (TypeError) (runtime)"));
}

// operators 14.109
TEST_F(Py, CallsAMethodOfANewObject) {
  const std::string module = R"(
class C(object):
  def __init__(self, a):
    self.a = a
  def m(self, b, **kw):
    print(self.a, b, 'session_date' in kw)
  def run(self):
    print('run', self.a)
  @staticmethod
  def s(b):
    print('static', b)
  @classmethod
  def c(cls, b):
    print(cls.__name__, b)
class Plain:
  def m(self):
    print('plain')
)";
  EXPECT_EQ(output_of(module, R"({"a": 1, "b": 2})", "tasks.C.m"), "1 2 True\n");
  EXPECT_EQ(output_of(module, R"({"a": 1})", "tasks.C"), "run 1\n");
  EXPECT_EQ(output_of(module, R"({"a": 1, "b": 2})", "tasks.C.s"), "static 2\n");
  EXPECT_EQ(output_of(module, R"({"a": 1, "b": 2})", "tasks.C.c"), "C 2\n");
  EXPECT_EQ(output_of(module, "{}", "tasks.Plain.m"), "plain\n");
  EXPECT_THAT(error_of(module, "{}", "tasks.C.m"), HasSubstr("Method 'C.__init__' requires parameter 'a' but not set"));
  EXPECT_THAT(error_of(module, R"({"a": 1})", "tasks.C.none"), HasSubstr("has no attribute 'none' (AttributeError)"));
}

TEST_F(Py, FindsModulesInPackagesOfTheWorkspace) {
  file("lib/__init__.py", "");
  file("lib/part.py", "def g():\n  print('part')\nclass K:\n  def m(self): print('K.m')");
  EXPECT_EQ(output_of("", "{}", "lib.part.g"), "part\n");
  EXPECT_EQ(output_of("", "{}", "lib.part.K.m"), "K.m\n");
  EXPECT_EQ(output_of("", "{}", "lib.part.K.m"), "K.m\n");
  task.workspace = project / "lib";
  EXPECT_EQ(output_of("", "{}", "part.g"), "part\n");
  task.workspace = project;
}

// operators 14.116
TEST_F(Py, SaysWhatItCannotFind) {
  EXPECT_THAT(error_of("", "{}", "nomod.fn"), HasSubstr("No module named 'nomod' (ModuleNotFoundError)"));
  EXPECT_THAT(error_of("", "{}", "tasks.nothing"), HasSubstr("Module 'tasks' has no attribute 'nothing' (AttributeError)"));
  EXPECT_THAT(error_of("", "{}", "tasks.No.m"), HasSubstr("Module 'tasks' has no attribute 'No' (AttributeError)"));
  EXPECT_THAT(error_of("", "{}", "bare"),
              HasSubstr("Empty module name: py> needs a function with its module, such as 'tasks.bare' (ValueError)"));
  EXPECT_THAT(error_of("import missing_library\ndef f(): pass"), HasSubstr("No module named 'missing_library' (ModuleNotFoundError)"));
  EXPECT_THAT(error_of("def f(:\n"), AllOf(HasSubstr("(SyntaxError)"), HasSubstr("tasks.py\", line 1\n")));
  EXPECT_THAT(error_of("import missing_library\ndef f(): pass"), HasSubstr("tasks.py\", line 1, in <module>\n"));
}

// operators 14.110
TEST_F(Py, StoresAndExports) {
  const auto result = result_of(R"(
import digdag
import digdag_env
def f():
  digdag.env.store({'answer': 42, 'obj': {'k': [1, 2]}}, extra='日本')
  digdag.env.export({'e1': 1.5}, e2=None)
  digdag.env.set_state(s=1)
  digdag_env.store_params['direct'] = True
  assert digdag_env.params['session_date'] == '2026-01-02' and digdag.env.params is digdag_env.params
)");
  EXPECT_EQ(to_json(result.store_params), R"({"answer":42,"obj":{"k":[1,2]},"extra":"日本","direct":true})");
  EXPECT_EQ(to_json(result.export_params), R"({"e1":1.5,"e2":null})");
  EXPECT_EQ(to_json(result.subtask_config), "{}");
}

TEST_F(Py, IgnoresWhatTheFunctionReturns) {
  const auto ended = call("import sys\ndef f():\n  print('to stdout')\n  sys.stderr.write('to stderr\\n')\n  return 5", "{}", "tasks.f");
  EXPECT_EQ(ended.error, "");
  EXPECT_THAT(ended.output, AllOf(HasSubstr("to stdout\n"), HasSubstr("to stderr\n")));
  EXPECT_TRUE(ended.result->store_params == Value::object());
}

// operators 14.111, 14.112, 14.113
TEST_F(Py, AddsSubtasks) {
  const auto result = result_of(R"(
import digdag
class C(object):
  def m(self, a): pass
def g(a): pass
def f():
  digdag.env.add_subtask(g, a=1)
  digdag.env.add_subtask(C.m, a=2)
  digdag.env.add_subtask({'echo>': 'x', '_export': {'y': 1}}, y=3)
  digdag.env.add_subtask(**{'sh>': 'true'})
  digdag.env.subtask_config['_parallel'] = True
)");
  EXPECT_EQ(to_json(result.subtask_config),
            R"({"+subtask0":{"a":1,"py>":"tasks.g"},"+subtask1":{"a":2,"py>":"tasks.C.m"},)"
            R"("+subtask2":{"echo>":"x","_export":{"y":1},"y":3},"+subtask3":{"sh>":"true"},"_parallel":true})");
  EXPECT_THAT(error_of("import digdag\ndef f():\n  digdag.env.add_subtask(f, a=set())"),
              HasSubstr("Parameters must be serializable using JSON: Object of type set is not JSON serializable (TypeError)"));
}

TEST_F(Py, NamesTheKeyOfAValueThatJsonDoesNotKnow) {
  const std::string head = "import digdag\ndef f():\n  digdag.env.";
  EXPECT_THAT(
      error_of(head + "store(good=1, bad={'x': [1, set()]})"),
      EndsWith("\nError messages from python: digdag.env.store: 'bad.x[1]' is not serializable using JSON: Object of type set is not JSON "
               "serializable (TypeError) (runtime)"));
  EXPECT_THAT(error_of(head + "export(bad=b'x')"), HasSubstr("digdag.env.export: 'bad' is not serializable"));
  EXPECT_THAT(error_of(head + "store(bad=float('nan'))"), HasSubstr("digdag.env.store: 'bad' is not serializable"));
  EXPECT_THAT(error_of(head + "store({'d': {(1, 2): 3}})"), HasSubstr("digdag.env.store: key (1, 2) of 'd' is no text (TypeError)"));
  EXPECT_THAT(error_of("import digdag\ndef f():\n  d = {}\n  d['d'] = d\n  digdag.env.store(loop=d)"),
              HasSubstr("digdag.env.store: 'loop' is not serializable"));
}

// operators 14.114
TEST_F(Py, FailsWithTheExceptionAndItsFrames) {
  const auto ended = call("def f():\n  raise ValueError('bad value')\n", "{}", "tasks.f");
  EXPECT_EQ(ended.error,
            "Python command failed with code 1\n"
            "Error messages from python: bad value (ValueError)\n"
            "  Traceback (most recent call last):\n"
            "    File \"" +
                (project / "tasks.py").string() +
                "\", line 2, in f\n"
                "      raise ValueError('bad value')\n"
                "  ValueError: bad value (runtime)");
  EXPECT_EQ(ended.output, "") << "the exception is shown once";
  EXPECT_THAT(leftovers(), IsEmpty());
}

// operators 14.115
TEST_F(Py, FailsWhereTheFunctionEndsTheProcess) {
  EXPECT_THAT(error_of("import sys\ndef f():\n  sys.exit(0)"),
              StartsWith("Python command failed with code 1\nError messages from python: Failed to call python command with code:0 "));
  EXPECT_EQ(error_of("import os\ndef f():\n  os._exit(0)"),
            "output.json does not exist. Something unexpected error happened. Please check logs. (runtime)");
  EXPECT_EQ(error_of("import os\ndef f():\n  os._exit(4)"), "Python command failed with code 4 (runtime)");
  EXPECT_EQ(error_of("import os\ndef f():\n  os.kill(os.getpid(), 15)"), "Python command was ended by signal 15 (SIGTERM) (runtime)");
}

TEST_F(Py, WritesItsResultWhereverTheFunctionWent) {
  const auto result = result_of("import os, digdag\ndef f():\n  os.chdir('/')\n  digdag.env.store(a=1)");
  EXPECT_EQ(to_json(result.store_params), R"({"a":1})");
}

TEST_F(Py, DoesNotTakeItsOwnFileForAModule) {
  file("runner.py", "def g():\n  print('the runner of the project')");
  EXPECT_EQ(output_of("", "{}", "runner.g"), "the runner of the project\n");
}

// operators 14.118
TEST_F(Py, GivesEnvButNoParametersAsVariables) {
  secrets = parse_json(R"({"k": "s3cret"})");
  EXPECT_EQ(
      output_of("import os\ndef f(p):\n  print(os.environ.get('p'), os.environ['E'], p)", R"({"p": 1, "_env": {"E": "${secret:k}"}})"),
      "None s3cret 1\n");
}

// operators 14.117
TEST_F(Py, UsesTheInterpreterThatIsNamed) {
  EXPECT_EQ(output_of("import sys\ndef f():\n  print(sys.flags.dont_write_bytecode)", R"({"python": ["python3", "-B"]})"), "1\n");
  EXPECT_EQ(output_of("def f():\n  print('ok')", R"({"py": {"python": "/usr/bin/python3"}})"), "ok\n");
  EXPECT_EQ(error_of("", R"({"python": {}})"), "Invalid python: {} (config)");
  EXPECT_EQ(error_of("", R"({"python": "python9"})"), "Cannot run program \"python9\" (in directory \"" + project.string() +
                                                          "\"): No such program in PATH (/usr/bin:/bin) (runtime)");
  EXPECT_THAT(call("", R"({"python": ["env", "python9"]})", "tasks.f").hint, HasSubstr("was not found"));
}

TEST_F(Py, TriesPythonAndThenPython3) {
  EXPECT_EQ(output_of("def f():\n  print('python3')"), "python3\n");
  file("bin/python", "#!/bin/sh\necho fake\nexit 9\n", 0755);
  environment.front().second = (project / "bin").string() + ":/usr/bin:/bin";
  EXPECT_EQ(error_of(""), "Python command failed with code 9 (runtime)");
  environment.front().second = "/nowhere";
  EXPECT_EQ(error_of(""), "There is neither a program python nor python3 in PATH (runtime)");
}

TEST_F(Py, SeesTheDefaultsOfItsNestedObjectInItsParameters) {
  EXPECT_EQ(output_of("def f(x, y):\n  print(x, y)", R"({"x": "own", "py": {"x": "default", "y": "default"}})"), "own default\n");
}

TEST_F(Py, ItsResultMustBeAnObjectInAFile) {
  for (const int code : {0, 5}) {
    const std::string script = "import os, sys\nos.mkfifo(sys.argv[2])\nos._exit(" + std::to_string(code) + ")";
    EXPECT_THAT(run("py", to_json(Value::object({{"script", Value(script)}}))).error,
                HasSubstr(code == 0 ? "(output.json) cannot be read" : "Can't parse output.json"));
  }
  EXPECT_THAT(run("py", R"json({"script": "import sys; open(sys.argv[2], 'w').write('[1]')"})json").error,
              HasSubstr("it must be an object"));
}

// operators 14.119
TEST_F(Py, RunsAScriptInPlaceOfAFunction) {
  const std::string script = R"(
import json, sys
params = json.load(open(sys.argv[1]))['params']
json.dump({'store_params': {'len': len(sys.argv), 'x': params['x']}}, open(sys.argv[2], 'w'))
)";
  const auto ended = run("py", to_json(Value::object({{"script", Value(script)}, {"x", 5}})));
  EXPECT_EQ(ended.error, "");
  ASSERT_TRUE(ended.result);
  EXPECT_EQ(to_json(ended.result->store_params), R"({"len":3,"x":5})");
  EXPECT_EQ(run("py", R"json({"script": "import sys; open(sys.argv[2], 'w').write('{'); sys.exit(2)"})json").error,
            "Python command failed with code 2\nError messages from python\n\tCan't parse output.json. The command failed unexpectedly. "
            "Please check logs. (runtime)");
  EXPECT_EQ(run("py", R"json({"script": "import sys; open(sys.argv[2], 'w').write('{\"store_params\": {1: 2}}')"})json").error,
            "The result of the script of py> (output.json) cannot be read: invalid JSON at line 1, column 19: expected a key in double "
            "quotes (runtime)");
  EXPECT_EQ(run("py", "{}").error, "Parameter 'script' is required but not set (config)");
}

TEST_F(Py, RemovesItsFiles) {
  EXPECT_THAT(
      output_of("import os, sys\ndef f():\n  print(sorted(os.listdir(os.path.dirname(os.path.abspath(sys.argv[0])))), sys.argv[1])"),
      "['input.json', 'runner.py'] tasks.f\n");
  EXPECT_THAT(leftovers(), testing::IsEmpty());
}

}  // namespace
}  // namespace digdag::operators
