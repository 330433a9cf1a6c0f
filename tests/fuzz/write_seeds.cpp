// Writes the inputs that a fuzzer starts from: FOLDER/TARGET/NAME. Usage: fuzz_seeds FOLDER
#include <filesystem>
#include <fstream>
#include <iostream>

#include "fuzz/targets.h"

int main(int argc, char** argv) {
  if (argc != 2) return std::cerr << "usage: fuzz_seeds FOLDER\n", 2;
  constexpr std::size_t kLargest = 1 << 18;  // a mutation of more tells nothing new, and is slow
  for (const auto& list : {lowbit::fuzz::seeds(), lowbit::fuzz::hostile_cases()})
    for (const lowbit::fuzz::Case& seed : list) {
      const std::string bytes = seed.bytes();
      if (bytes.size() > kLargest) continue;
      const auto folder = std::filesystem::path(argv[1]) / seed.target;
      std::filesystem::create_directories(folder);
      std::ofstream(folder / seed.name, std::ios::binary)
          .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    }
  for (const lowbit::fuzz::Target& target : lowbit::fuzz::targets()) std::cout << target.name << "\n";
}
