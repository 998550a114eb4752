#include "vmconvert/io/neighbours.h"

#include <algorithm>
#include <filesystem>

#include "vmconvert/io/input.h"

namespace vmconvert {
namespace {

class Folder final : public Neighbours {
 public:
  explicit Folder(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    std::error_code error;
    std::filesystem::directory_iterator entry(folder_.empty() ? "." : folder_, error);
    for (const std::filesystem::directory_iterator end; !error && entry != end;
         entry.increment(error)) {
      names.push_back(entry->path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  std::uint64_t size(const std::string& name) const override {
    std::error_code error;
    const auto path = folder_ / name;
    if (!std::filesystem::is_regular_file(path, error) || error) return 0;
    const std::uintmax_t size = std::filesystem::file_size(path, error);
    return error ? 0 : size;
  }

  std::shared_ptr<const ByteSource> open(const std::string& name, bool salvage,
                                         Diagnostics& diagnostics) const override {
    return Input::open((folder_ / name).string(), salvage, diagnostics).source();
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace

std::shared_ptr<const Neighbours> neighbours_of(const std::string& path) {
  return std::make_shared<Folder>(std::filesystem::path(path).parent_path());
}

}  // namespace vmconvert
