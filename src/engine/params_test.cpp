#include "engine/params.h"

#include <gtest/gtest.h>

#include "engine/attempt_of.h"

namespace digdag::engine {
namespace {

using dig::Origin;

std::string text(const Params& params) { return to_json(params.to_value()); }

TEST(Params, MergeAsTheLanguageSays) {  // language 4.5
  const Params base = Params().with(json(R"({"b":1,"a":{"x":1,"y":2}})"));
  EXPECT_EQ(text(base.with(json(R"({"a":{"y":3,"z":4},"c":5})"))), R"({"b":1,"a":{"x":1,"y":3,"z":4},"c":5})");
  EXPECT_EQ(text(base.with(json(R"({"a":[1]})"))), R"({"b":1,"a":[1]})");
  EXPECT_EQ(text(base.with(json(R"({"a":null})")).with(json(R"({"a":{"k":1}})"))), R"({"b":1,"a":{"k":1}})");
  EXPECT_EQ(text(base), R"({"b":1,"a":{"x":1,"y":2}})");  // what it was made from stays
  EXPECT_TRUE(base.with(Value()).to_value().same_as(base.to_value()));
  EXPECT_TRUE(base.find("nosuch").is_null());
}

TEST(Params, KeysCanBeReset) {  // language 4.6, execution 32.38
  const Params params = Params().with(json(R"({"a":{"b":1,"c":2},"d":3})"));
  EXPECT_EQ(text(params.without({"a.b"})), R"({"a":{"c":2},"d":3})");
  EXPECT_EQ(text(params.without({"d", "d.x", "a.c.x", "nosuch"})), R"({"a":{"b":1,"c":2}})");
  EXPECT_EQ(text(params.without({"a"}).with(json(R"({"a":4})"))), R"({"d":3,"a":4})");
}

TEST(Params, RememberWhereValuesCameFrom) {  // decisions L-21
  const Params params = Params()
                            .with(json(R"({"m":{"code":1},"i":1})"))
                            .with(json(R"({"m":{"data":{"x":1}},"s":"${x}"})"), Origin::data)
                            .with(json(R"({"py":1,"m":{"py":2}})"), Origin::stored)
                            .with(json(R"({"list":[1],"loop":{"v":1}})"), Origin::code, {"/loop/v"});
  const auto origins = params.origins();
  EXPECT_EQ(origins.of("/m/code"), Origin::code);
  EXPECT_EQ(origins.of("/m/data/x"), Origin::data);
  EXPECT_EQ(origins.of("/m/py"), Origin::stored);
  EXPECT_EQ(origins.of("/s"), Origin::data);
  EXPECT_EQ(origins.of("/py"), Origin::stored);
  EXPECT_EQ(origins.of("/i"), Origin::code);
  EXPECT_EQ(origins.of("/loop/v"), Origin::data);

  EXPECT_EQ(params.with(json(R"({"s":"code"})")).origins().of("/s"), Origin::code);
  EXPECT_EQ(params.with(json(R"({"m":{"data":2}})")).origins().of("/m/data"), Origin::code);
  EXPECT_EQ(params.without({"m.data"}).with(json(R"({"m":{"data":1}})")).origins().of("/m/data"), Origin::code);
  EXPECT_EQ(Params().with(json(R"({"a/b":{"c~d":1}})"), Origin::data).origins().of("/a~1b/c~0d"), Origin::data);
}

TEST(Params, TheOperatorTellsTheOrigin) {
  for (const char* type : {"http", "pg", "redshift_unload", "td", "td_wait", "bq_load", "s3_wait", "gcs_wait", "emr", "param_get"}) {
    EXPECT_EQ(origin_of_operator(type), Origin::data) << type;
  }
  for (const char* type : {"py", "rb", "tdx", "my_plugin"}) EXPECT_EQ(origin_of_operator(type), Origin::stored) << type;
}

TEST(Params, ManyKeysKeepTheirOrder) {
  Params params;
  std::string expected;
  for (int i = 0; i < 3000; ++i) params = params.with(Value::object({{"k" + std::to_string(i), i}}));
  for (int i = 0; i < 3000; i += 2) params = params.without({"k" + std::to_string(i)});
  for (int i = 1; i < 3000; i += 2) expected += (i > 1 ? "," : "") + ("\"k" + std::to_string(i)) + "\":" + std::to_string(i);
  EXPECT_EQ(text(params), "{" + expected + "}");
  EXPECT_TRUE(params.find("k0").is_null());
  EXPECT_EQ(params.find("k2999"), Value(2999));
}

TEST(Params, SiblingsShareOneObject) {
  AttemptOf run("_parallel: true\n_export: {k: 1}\n+a: {sh>: x}\n+b: {sh>: x}");
  EXPECT_TRUE(run.attempt.params_of(1).to_value().same_as(run.attempt.params_of(2).to_value()));
}

// ---- What a task sees (language 7.2) ---------------------------------------------------------------------------------------

TEST(ParamsOfTask, StoresBeatExportsFromFurtherOut) {  // language 7.2, execution 32.35, 32.37
  AttemptOf run(R"(
    _export: {v: root, m: {a: 1}}
    +s1: {py>: x}
    +e1: {echo>: x, _export: {own: 1}}
    +g:
      _export: {v: group, m: {b: 2}}
      +a: {py>: x}
      +b: {echo>: x}
      +c: {echo>: x, _export: {v: own}}
    +z: {echo>: x}
  )");
  run.finish("+s1", stores(R"({"v":"stored"})"));
  EXPECT_EQ(run.params("+e1"), R"({"v":"stored","m":{"a":1},"own":1})");
  run.finish("+e1");
  EXPECT_EQ(run.params("+g+a"), R"({"v":"group","m":{"a":1,"b":2}})");
  run.finish("+g+a", stores(R"({"v":"stored2","m":{"c":3}})"));
  EXPECT_EQ(run.params("+g+b"), R"({"v":"stored2","m":{"a":1,"b":2,"c":3}})");
  run.finish("+g+b");
  EXPECT_EQ(run.param("+g+c", "v"), R"("own")");
  run.finish("+g+c");
  EXPECT_EQ(run.params("+z"), R"({"v":"stored2","m":{"a":1,"c":3}})");
}

TEST(ParamsOfTask, FileOrderDecidesNotTime) {  // execution 32.36, 32.40
  AttemptOf run(R"(
    +p:
      _parallel: true
      +p1: {py>: x}
      +p2: {py>: x}
    +z: {echo>: x}
  )");
  run.finish("+p+p2", stores(R"({"who":2})"));
  EXPECT_EQ(run.params("+p+p1"), "{}");
  run.finish("+p+p1", stores(R"({"who":1})"));
  EXPECT_EQ(run.params("+z"), R"({"who":2})");
}

TEST(ParamsOfTask, OnlyUpstreamsCount) {
  AttemptOf run(R"(
    _parallel: true
    +a: {py>: x}
    +b: {py>: x}
    +c: {py>: x, _after: [+a]}
    +d: {echo>: x, _after: [+c]}
    +e: {echo>: x, _after: [+d, +b]}
  )");
  run.finish("+a", stores(R"({"a":1})"));
  run.finish("+b", stores(R"({"b":1})"));
  EXPECT_EQ(run.params("+c"), R"({"a":1})");
  run.finish("+c", stores(R"({"c":1})"));
  EXPECT_EQ(run.params("+d"), R"({"a":1,"c":1})");
  run.finish("+d");
  EXPECT_EQ(run.params("+e"), R"({"a":1,"b":1,"c":1})");
}

TEST(ParamsOfTask, ChunksSeeTheChunksBefore) {
  AttemptOf run(R"(
    _parallel: {limit: 2}
    +a: {py>: x}
    +b: {py>: x}
    +c: {py>: x}
    +d: {py>: x}
    +e: {py>: x}
  )");
  run.finish("+b", stores(R"({"b":1})"));
  run.finish("+a", stores(R"({"a":1})"));
  run.finish("+c", stores(R"({"c":1})"));
  EXPECT_EQ(run.params("+d"), R"({"a":1,"b":1})");
  run.finish("+d", stores(R"({"a":2})"));
  EXPECT_EQ(run.params("+e"), R"({"a":2,"b":1,"c":1})");
  EXPECT_EQ(run.params("+c"), R"({"a":1,"b":1})");  // also asked later
}

TEST(ParamsOfTask, ExportsOfAnOperatorReachWhatItGenerates) {
  AttemptOf run("+l: {loop>: 1, _do: {}, _export: {e: 1}}\n+z: {echo>: x}");
  Ends ends = generates(R"({"+loop-0":{"_export":{"i":0},"py>":"x"}})");
  ends.result.export_params = json(R"({"x":2})");
  ends.result.store_params = json(R"({"s":3})");
  ends.result.literal_paths = {"/+loop-0/_export/i"};
  run.finish("+l", ends);
  EXPECT_EQ(run.params("+l^sub+loop-0"), R"({"e":1,"x":2,"s":3,"i":0})");
  const auto origins = run.attempt.params_of(run.task("+l^sub+loop-0")).origins();
  EXPECT_EQ(origins.of("/i"), Origin::data);
  EXPECT_EQ(origins.of("/e"), Origin::code);
  EXPECT_EQ(origins.of("/x"), Origin::stored);
  run.finish("+l^sub+loop-0", stores(R"({"t":4})"));
  EXPECT_EQ(run.params("+z"), R"({"s":3,"t":4})");
}

TEST(ParamsOfTask, ResetsActBeforeTheStore) {  // execution 12.4
  AttemptOf run("_export: {a: {b: 1, c: 2}}\n+a: {py>: x}\n+b: {echo>: x}");
  Ends ends = stores(R"({"n":1})");
  ends.result.reset_store_params = {"a.b", "n"};
  run.finish("+a", ends);
  EXPECT_EQ(run.params("+b"), R"({"a":{"c":2},"n":1})");
}

TEST(ParamsOfTask, BothGenerationsOfARetriedGroupAreWalked) {  // execution 12.3
  AttemptOf run(R"(
    +g:
      _retry: 1
      +a: {py>: x}
      +b: {py>: x}
    +z: {echo>: x}
  )");
  run.finish("+g+a", stores(R"({"n":1,"first":1})"));
  run.finish("+g+b", failure("no"));
  run.wait(0);
  EXPECT_EQ(run.params("+g+a"), "{}");
  run.finish("+g+a", stores(R"({"n":2})"));
  EXPECT_EQ(run.params("+g+b"), R"({"n":2})");
  run.finish("+g+b");
  EXPECT_EQ(run.params("+z"), R"({"n":2,"first":1})");
}

TEST(ParamsOfTask, HandlersAndChecksAreNoParameters) {  // language 7.2
  AttemptOf run("+g:\n  _export: {_error: {echo>: e}, k: 1}\n  +a: {sh>: x}");
  EXPECT_EQ(run.params("+g+a"), R"({"k":1})");
}

}  // namespace
}  // namespace digdag::engine
