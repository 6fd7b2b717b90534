#include "dig/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "dig/check_report.h"
#include "dig/ignore_rules.h"
#include "dig/project_for_test.h"

namespace digdag::dig {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view fine = "+x: {echo>: 1}\n";

std::vector<std::string> files_of(const TestProject& project) {
  std::vector<std::string> names;
  for (const Project::File& file : project.load().files) names.push_back(file.name);
  return names;
}

std::vector<std::string> warnings_of(std::string_view dig) {
  std::vector<std::string> texts;
  for (const Warning& warning : TestProject{{"wf.dig", std::string(dig)}}.load().warnings) {
    texts.push_back(to_string(warning.position) + ": " + warning.message + " [" + warning.id + "]");
  }
  return texts;
}

TEST(Project, ItsWorkflowsAreTheDigFilesAtTheTopSortedByName) {
  const TestProject project{{"b.dig", "{}"},       {"a.dig", "{}"},     {"B.dig", "{}"},
                            {".hidden.dig", "{}"}, {"sub/c.dig", "{}"}, {"notes.txt", ""}};
  std::filesystem::create_directory(project.directory() / "folder.dig");
  std::filesystem::create_symlink("sub/c.dig", project.directory() / "link.dig");
  std::filesystem::create_symlink("nowhere", project.directory() / "dangling.dig");
  ASSERT_EQ(::mkfifo((project.directory() / "pipe.dig").c_str(), 0600), 0);
  EXPECT_THAT(files_of(project), ElementsAre("B.dig", "a.dig", "b.dig", "link.dig"));
}

TEST(Project, DigdagignoreHidesFiles) {
  const TestProject project{{".digdagignore", "# old ones\n*_old.dig\n!keep_old.dig\n/a.dig\n"},
                            {"a.dig", "{}"},
                            {"b_old.dig", "{}"},
                            {"keep_old.dig", "{}"},
                            {"c.dig", "{}"}};
  EXPECT_THAT(files_of(project), ElementsAre("c.dig", "keep_old.dig"));
}

TEST(Project, ErrorsOfAllFilesAreCollected) {
  const TestProject project{{"a.dig", "+x:\n  echo>: a: b\n"}, {"b.dig", std::string(fine)}, {"c.dig", "foo: 1\n+x: {sh>: 1, echo>: 2}\n"}};
  EXPECT_EQ(project.messages(), R"(mapping values are not allowed here
Workflow 'c' includes unknown keys: [foo]
A task can't have more than one operator: {"sh>":1,"echo>":2}
)");
  const Project loaded = project.load();
  EXPECT_TRUE(loaded.find("b")->tasks);
  EXPECT_TRUE(loaded.find("b")->errors.empty());
  EXPECT_EQ(loaded.find("nope"), nullptr);
}

TEST(Project, AMissingDirectoryIsAnError) { EXPECT_THROW(load_project("/nonexistent/project"), Error); }

TEST(Project, AFileThatCannotBeReadIsAnErrorOfThatFile) {
  const TestProject project{{"a.dig", std::string(fine)}};
  const Project loaded = load_project(project.directory(), {.bytes = 5});
  ASSERT_EQ(loaded.files[0].errors.size(), 1U);
  EXPECT_THAT(loaded.files[0].errors[0].report(), HasSubstr("a.dig:1:1: "));
}

TEST(Project, ASyntaxErrorHidesNothingOfOtherKinds) {
  EXPECT_EQ(faults_of("_export: {a: 1, a: 2}\n+x: {foo: 1}\n"), "Duplicated keys: [a]\n+wf+x contains invalid keys: 'foo'\n");
}

TEST(Project, ATopThatWasRefusedIsNotCalledEmptyAsWell) {
  EXPECT_EQ(faults_of("!!int abc\n"), "`abc` does not fit the tag tag:yaml.org,2002:int\n");
}

TEST(LoadYamlFile, AMissingFileHasItsOwnKind) {
  try {
    load_yaml_file("/nonexistent/params.yml", "/nonexistent", "params.yml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), "no such file");
  }
}

// ---- .digdagignore ------------------------------------------------------------------------------------------------------

TEST(IgnoreRules, PatternsWithoutASlashMatchNamesAnywhere) {
  const IgnoreRules rules("*.log\ntmp?\n[ab]x\n[!c]y\n");
  for (const char* path : {"a.log", "sub/a.log", "tmp1", "ax", "sub/bx", "dy"}) EXPECT_TRUE(rules.ignores(path, false)) << path;
  for (const char* path : {"a.logs", "tmp", "tmp12", "cx", "cy"}) EXPECT_FALSE(rules.ignores(path, false)) << path;
}

TEST(IgnoreRules, PatternsWithASlashCountFromTheProject) {
  const IgnoreRules rules("/top.dig\nsub/x.dig\ndata/*.csv\n");
  for (const char* path : {"top.dig", "sub/x.dig", "data/a.csv"}) EXPECT_TRUE(rules.ignores(path, false)) << path;
  for (const char* path : {"sub/top.dig", "a/sub/x.dig", "data/a/b.csv"}) EXPECT_FALSE(rules.ignores(path, false)) << path;
}

TEST(IgnoreRules, TwoStarsCrossFolders) {
  const IgnoreRules rules("**/logs\na/**/z\nout/**\n");
  for (const char* path : {"logs", "a/b/logs", "a/z", "a/b/c/z", "out/x", "out/x/y"}) EXPECT_TRUE(rules.ignores(path, false)) << path;
  for (const char* path : {"logs2", "b/z", "out"}) EXPECT_FALSE(rules.ignores(path, false)) << path;
}

TEST(IgnoreRules, TheLastMatchDecides) {
  const IgnoreRules rules("*.dig\n!a.dig\n#comment\n\\#x\n\\!y\nfolder/\nblank\\ \ntrailing   \r\n");
  EXPECT_FALSE(rules.ignores("a.dig", false));
  EXPECT_TRUE(rules.ignores("b.dig", false));
  EXPECT_TRUE(rules.ignores("#x", false));
  EXPECT_TRUE(rules.ignores("!y", false));
  EXPECT_TRUE(rules.ignores("folder", true));
  EXPECT_FALSE(rules.ignores("folder", false));
  EXPECT_TRUE(rules.ignores("blank ", false));
  EXPECT_TRUE(rules.ignores("trailing", false));
}

TEST(IgnoreRules, ManyStarsCostNoMore) {
  std::string pattern;
  for (int i = 0; i < 50; ++i) pattern += "*a";
  EXPECT_FALSE(IgnoreRules(pattern + "b").ignores(std::string(10'000, 'a'), false));
  std::string folders;
  for (int i = 0; i < 200; ++i) folders += "**/";
  EXPECT_FALSE(IgnoreRules(folders + "x").ignores("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p", false));
}

// ---- warnings -----------------------------------------------------------------------------------------------------------

TEST(Warnings, DoubtfulScalars) {
  EXPECT_THAT(
      warnings_of("_export: {a: 0.5, b: 010, c: 1:30.5, d: '0.5', e: 0x10, f: 1.5, g: '010'}\n"),
      ElementsAre(
          "wf.dig:1:14: `0.5` is a text, not a number, because it begins with 0; quote it if it is meant as a text [W-number-string]",
          "wf.dig:1:22: `010` is read as an octal number; quote it if it is meant as a text [W-octal]",
          "wf.dig:1:30: `1:30.5` is read as a number to the base 60; quote it if it is meant as a text [W-sexagesimal]"));
}

TEST(Warnings, KeysThatBecomeTheSame) {
  EXPECT_THAT(warnings_of("_export:\n  1: a\n  '01': c\n  0x1: b\n"),
              ElementsAre("wf.dig:4:3: `0x1` is the same key as an earlier one, `1`; the last one counts [W-duplicate-key]"));
}

TEST(Warnings, ATaskWithoutItsSignUnderAnOperator) {
  EXPECT_THAT(warnings_of("+step1:\n  sh>: a\n  step2:\n    sh>: b\n"),
              ElementsAre("wf.dig:3:3: step2 is an option of +wf+step1 and never runs: did you mean +step2, beside it? [W-nested-task]"));
  EXPECT_THAT(warnings_of("+a: {loop>: 2, do: {sh>: a}}\n"), ElementsAre(HasSubstr("never runs: did you mean _do?")));
  EXPECT_THAT(warnings_of("+a: {loop>: 2, _do: {+b: {sh>: a, c: {sh>: b}}}}\n"), ElementsAre(HasSubstr("c is an option of +wf+a^sub+b")));
}

TEST(Warnings, SubtasksThatWillNotCompile) {
  EXPECT_THAT(warnings_of("+a: {loop>: 3, _do: {foo: 1}}\n"),
              ElementsAre("wf.dig:1:22: _do will fail: +wf+a^sub contains invalid keys: 'foo' [W-subtasks]"));
  EXPECT_THAT(warnings_of("+a: {echo>: 3, _check: x}\n"), ElementsAre("wf.dig:1:16: _check of +wf+a must be an object [W-subtasks]"));
}

TEST(Warnings, AMonitorThatLetsNoAttemptStart) {
  const auto of = [](const std::string& sla) { return warnings_of("sla: " + sla + "\n+a: {echo>: 1}\n"); };
  EXPECT_THAT(of("{duration: 1h}"), ElementsAre("wf.dig:1:7: SLA duration option needs to be HH:MM or HH:MM:SS format: 1h; "
                                                "no attempt will start: for an hour write 01:00 [W-sla]"));
  EXPECT_THAT(of("{time: noon}"), ElementsAre(HasSubstr("no attempt will start: for 7 o'clock write 07:00 [W-sla]")));
  EXPECT_THAT(of("{echo>: x}"), ElementsAre(HasSubstr("wf.dig:1:1: SLA must be specified using either the 'time' or 'duration' option; ")));
  EXPECT_THAT(of("{time: 07:00, duration: 01:00}"), ElementsAre(HasSubstr("SLA must be specified using either")));
  EXPECT_THAT(of("x"), ElementsAre(HasSubstr("sla must be an object")));
}

// execution 18.1
TEST(Warnings, AMonitorOutsideOfTheClock) {
  const auto of = [](const std::string& sla) { return warnings_of("sla: {" + sla + "}\n+a: {echo>: 1}\n"); };
  EXPECT_THAT(of("time: '25:00'"), ElementsAre(HasSubstr("wf.dig:1:7: sla time 25:00 has a part outside of the clock")));
  EXPECT_THAT(of("duration: '01:75'"), ElementsAre(HasSubstr("[W-sla]")));
  EXPECT_THAT(of("duration: '48:00:00'"), ElementsAre());
  EXPECT_THAT(of("time: '23:59:59'"), ElementsAre());
}

// execution 18.4
TEST(Warnings, KeysThatAMonitorDoesNotKnow) {
  EXPECT_THAT(warnings_of("sla: {duration: 01:00, enable: true}\n+a: {echo>: 1}\n"),
              ElementsAre("wf.dig:1:24: sla will fail: +wf^sla contains invalid keys: 'enable' [W-sla]"));
}

TEST(Warnings, KeysWithoutEffect) {
  EXPECT_THAT(
      warnings_of("+g: {timezone: x, schedule: {}, _secrets: {}, +b: {echo>: 1}}\n"),
      ElementsAre(HasSubstr("timezone has no effect in +wf+g"), HasSubstr("schedule has no effect"), HasSubstr("_secrets has no effect")));
  EXPECT_THAT(warnings_of("+a: {_disable: true, sh>: 1, echo>: 2}\n"),
              ElementsAre(HasSubstr("+wf+a is disabled and would not compile: A task can't have")));
  EXPECT_THAT(warnings_of("+g: {_check: {echo>: x}, +b: {echo>: 1}}\n"), ElementsAre(HasSubstr("[W-group-check]")));
  EXPECT_THAT(warnings_of("+a: {echo>: 1, _finally: {}}\n"), ElementsAre("wf.dig:1:16: _finally is reserved [W-reserved]"));
}

TEST(Warnings, RetryOfAWrongForm) {
  for (const char* wrong : {"[1]", "true", "{interval: 3}", "{limit: 3, interval_type: linear}", "{limit: 1, on: [success]}", "x"}) {
    EXPECT_THAT(warnings_of("+a: {sh>: 1, _retry: " + std::string(wrong) + "}\n"), ElementsAre(HasSubstr("[W-retry]"))) << wrong;
  }
  for (const char* right :
       {"3", "'3'", "${n}", "{limit: 3, interval: 1, interval_type: Exponential, max_interval: 9, on: [timeout, failure]}"}) {
    EXPECT_THAT(warnings_of("+a:\n  sh>: 1\n  _retry: " + std::string(right) + "\n"), ElementsAre()) << right;
  }
  EXPECT_THAT(warnings_of("+a: {sh>: 1, _timeout: abc}\n"),
              ElementsAre("wf.dig:1:14: +wf+a will fail: Invalid _timeout: \"abc\" [W-time-limit]"));
  EXPECT_THAT(warnings_of("+a: {sh>: 1, _timeout: {limt: 5s}}\n"),
              ElementsAre("wf.dig:1:14: +wf+a will fail: _timeout contains invalid keys: 'limt' (did you mean [limit]?) [W-time-limit]"));
  EXPECT_THAT(warnings_of("+a: {sh>: 1, _timeout: 5$}\n"), ElementsAre(HasSubstr("Invalid _timeout: \"5$\"")));
  EXPECT_THAT(warnings_of("+a: {sh>: 1, _kill_grace: foo, _error_on_cancel: maybe}\n"),
              ElementsAre(HasSubstr("[W-time-limit]"), HasSubstr("[W-time-limit]")));
  EXPECT_THAT(warnings_of("+a: {sh>: 1, _timeout: {limit: '${n}', grace: never}, _kill_grace: 1m, _error_on_cancel: 'true'}\n"),
              ElementsAre());
  EXPECT_THAT(warnings_of("+a: {echo>: 1, _retry: 3}\n"), ElementsAre("wf.dig:1:16: _retry has no effect on echo> [W-retry]"));
  EXPECT_THAT(warnings_of("+a: {wait>: 1h, _timeout: 5s, _retry: 3}\n"), testing::IsEmpty());
}

// ${day} in a map of a task sees the parameter unevaluated (spec/language.md 8.1)
TEST(Warnings, ATemplateInAMapThatGivesTheTemplateOfAnExport) {
  const auto below = [](const std::string& tasks) {
    return warnings_of("_export: {day: '${1 + 1}', plain: x, pw: '${secret:a}'}\n" + tasks);
  };
  EXPECT_THAT(
      below("+a:\n  sh>: a\n  _env:\n    E: x ${day}\n"),
      ElementsAre("wf.dig:5:5: ${day} inside of a map gives +wf+a the template of day as it is written, not its value: write its "
                  "expression here, or give the task a key of a new name with ${day} before the map, and use that [W-raw-template]"));
  for (const char* raw :
       {"+a: {sh>: a, day: '${day}', _env: {E: '${day}'}}\n", "+a: {py>: a, l: [{x: '${day}'}]}\n",
        "+a: {py>: a, o: {l: ['${day.length}']}}\n", "+g: {_export: {h: {k: '${day}'}}, +a: {echo>: 1}, +b: {echo>: 2}}\n",
        "+a: {_export: {own: '${plain}', m: {k: '${own}'}}, echo>: 1}\n", "+a: {_export: {m: {t: '${1}'}}, py>: a, o: {x: '${m.t}'}}\n",
        "+a: {for_each>: {d: ['${day}']}, _do: {sh>: a, _env: {E: '${d}'}}}\n",
        "+a: {if>: true, _do: {+b: {sh>: a, _env: {E: '${day}'}}}}\n", "+g: {+a: {echo>: 1}, _error: {sh>: a, _env: {E: '${day}'}}}\n",
        "+a: {sh>: a, _env: {E: '${day}', day: 1}}\n"}) {
    EXPECT_THAT(below(raw), ElementsAre(HasSubstr("[W-raw-template]"))) << raw;
  }
  for (const char* evaluated :
       {"+a: {echo>: '${day}', l: ['${day}'], d: '${day}'}\n", "+a: {d: '${day}', sh>: a, _env: {E: '${d}'}}\n",
        "+a: {sh>: a, _env: {day: 1, E: '${day}', P: '${plain} ${pw} ${gone}'}}\n",
        "+a: {_export: {day: 3}, sh>: a, _env: {E: '${day}'}}\n", "+a: {if>: true, _do: {echo>: '${day}'}, _else_do: {echo>: '${day}'}}\n",
        "+a: {for_each>: {day: [1]}, _do: {+b: {sh>: a, _env: {E: '${day}'}}}}\n",
        "+g: {_export: {h: {k: '${day}'}}, +a: {echo>: 1, _export: {day: 1}}}\n",
        "+a: {_export: {task_name: '${day}'}, py>: a, o: {x: '${task_name}'}}\n"}) {
    EXPECT_THAT(below(evaluated), ElementsAre()) << evaluated;
  }
}

TEST(Warnings, WorkflowsThatAreNotThere) {
  const TestProject project{{"a.dig",
                             "+x: {call>: sub/c}\n+y: {call>: nope.dig}\n+z: {require>: b}\n+u: {require>: gone}\n+v: {require>: other, "
                             "project_name: p}\n+w: {call>: \"${f}\"}\n+o: {call>: /etc/hostname}\n"},
                            {"b.dig", "{}"},
                            {"sub/c.dig", "{}"}};
  std::vector<std::string> texts;
  for (const Warning& warning : project.load().warnings) texts.push_back(warning.message);
  EXPECT_THAT(texts, ElementsAre("call> nope.dig: there is no file nope.dig", "require> gone: this project has no such workflow",
                                 "call> /etc/hostname: /etc/hostname.dig is outside of the project"));
}

TEST(Warnings, WorkflowsThatAreNotThereBelowATaskOfWhichOnlyTheExportsReachThem) {
  const auto below = [](const std::string& keys) {
    return warnings_of("+a: {if>: true, " + keys + ", _do: {+b: {call>: gone}, +c: {require>: gone}}}\n");
  };
  EXPECT_THAT(below("_workdir: sub, project_name: p"), ElementsAre(HasSubstr("call> gone"), HasSubstr("require> gone")));
  EXPECT_THAT(below("_export: {_workdir: sub, project_name: p}"), ElementsAre());
}

TEST(Warnings, KeysOfACalledFileThatCountOnlyAtItsTop) {
  const TestProject project{{"a.dig", "timezone: Asia/Tokyo\n+x: {call>: sub/c}\n+y: {call>: b}\n"},
                            {"b.dig", "timezone: Asia/Tokyo\nsla: {time: 1:00, echo>: late}\n"},
                            {"sub/c.dig", "timezone: UTC\nschedule: {daily>: 07:00:00}\n"}};
  std::vector<std::string> texts;
  for (const Warning& warning : project.load().warnings)
    texts.push_back(to_string(warning.position) + ": " + warning.message + " [" + warning.id + "]");
  EXPECT_THAT(texts, ElementsAre("a.dig:2:6: schedule of sub/c.dig has no effect where call> runs it [W-unused-key]",
                                 "a.dig:2:6: timezone of sub/c.dig has no effect where call> runs it [W-unused-key]",
                                 "a.dig:3:6: sla of b.dig has no effect where call> runs it [W-unused-key]"));
}

// ---- check --json -------------------------------------------------------------------------------------------------------

TEST(CheckReport, DescribesWorkflowsErrorsAndWarnings) {
  const TestProject project{
      {"a.dig", "timezone: Asia/Tokyo\nschedule: {daily>: 07:00:00}\n_export: {x: 0.5}\n+g:\n  +x: {echo>: 1}\n  +y: {_type: sh, z: 1}\n"},
      {"b.dig", "foo: 1\n"}};
  const CheckReport report = check_report(project.load(), std::nullopt);
  EXPECT_TRUE(report.has_errors);
  EXPECT_TRUE(report.has_warnings);
  EXPECT_EQ(
      to_json(report.json),
      R"({"workflows":[{"name":"a","timezone":"Asia/Tokyo","schedule":{"daily>":"07:00:00"},"sla":null,"tasks":[)"
      R"({"index":0,"full_name":"+a","parent":null,"upstreams":[],"operator":null,"local":{"schedule":{"daily>":"07:00:00"}},"export":{"x":"0.5"}},)"
      R"({"index":1,"full_name":"+a+g","parent":0,"upstreams":[],"operator":null,"local":{},"export":{}},)"
      R"({"index":2,"full_name":"+a+g+x","parent":1,"upstreams":[],"operator":"echo","local":{"echo>":1},"export":{}},)"
      R"({"index":3,"full_name":"+a+g+y","parent":1,"upstreams":[2],"operator":"sh","local":{"_type":"sh","z":1},"export":{}}]}],)"
      R"("errors":[{"file":"b.dig","line":1,"column":1,"message":"Workflow 'b' includes unknown keys: [foo]","hint":"parameters belong into _export"}],)"
      R"("warnings":[{"file":"a.dig","line":3,"column":14,"id":"W-number-string","message":"`0.5` is a text, not a number, because it begins with 0; quote it if it is meant as a text"}]})");
}

TEST(CheckReport, AWorkflowNameFilters) {
  const TestProject project{{"a.dig", "_export: {x: 0.5}\n"}, {"b.dig", "foo: 1\n"}, {"c.dig", "{}"}};
  const Project loaded = project.load();
  const CheckReport c = check_report(
      loaded, "c", {config_error("elsewhere").at({1, 1, file_id("a.dig")}), config_error("here").at({2, 3, file_id("c.dig")})});
  EXPECT_THAT(to_json(c.json), HasSubstr(R"("errors":[{"file":"c.dig","line":2,"column":3,"message":"here"}],"warnings":[])"));
  EXPECT_FALSE(check_report(loaded, "a").has_errors);
  EXPECT_TRUE(check_report(loaded, "b").has_errors);
  const CheckReport none = check_report(loaded, "nope");
  EXPECT_TRUE(none.has_errors);
  EXPECT_EQ(
      to_json(none.json),
      R"({"workflows":[],"errors":[{"file":"nope.dig","line":1,"column":1,"message":"Workflow 'nope' does not exist"}],"warnings":[]})");
}

}  // namespace
}  // namespace digdag::dig
