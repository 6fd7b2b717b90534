#include "server/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace digdag::server {
namespace {

using ::testing::HasSubstr;

TEST(Metrics, CountersAndGaugesAreShownAsPrometheusReadsThem) {
  Metrics metrics;
  metrics.declare_counter("requests_total", "Requests.");
  metrics.add("requests_total", Metrics::labels({{"method", "GET"}, {"status", "200"}}));
  metrics.add("requests_total", Metrics::labels({{"method", "GET"}, {"status", "200"}}));
  metrics.add("requests_total", Metrics::labels({{"method", "a\"b\\\n"}}), 0.5);
  metrics.measure("queue_length", "Waiting tasks.", [] { return 7.0; });
  EXPECT_EQ(metrics.text(),
            "# HELP queue_length Waiting tasks.\n"
            "# TYPE queue_length gauge\n"
            "queue_length 7\n"
            "# HELP requests_total Requests.\n"
            "# TYPE requests_total counter\n"
            "requests_total{method=\"GET\",status=\"200\"} 2\n"
            "requests_total{method=\"a\\\"b\\\\\\n\"} 0.5\n");
}

TEST(Metrics, TheProcessIsMeasured) {
  Metrics metrics;
  measure_process(metrics);
  EXPECT_THAT(metrics.text(), HasSubstr("process_resident_memory_bytes "));
  EXPECT_THAT(metrics.text(), ::testing::AllOf(HasSubstr("process_threads "), ::testing::Not(HasSubstr("process_threads 0\n"))));
}

}  // namespace
}  // namespace digdag::server
