#include "check.h"

int main() {
  int passed = 0, failed = 0;
  for (const auto& test : md::tests::all()) {
    try {
      test.body();
      passed++;
    } catch (const std::exception& error) {
      failed++;
      std::printf("FAILED %s: %s\n", test.name, error.what());
    }
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
