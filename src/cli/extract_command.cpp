#include <algorithm>
#include <array>
#include <cstdio>
#include <deque>
#include <optional>

#include "all_formats.h"
#include "commands.h"
#include "messages.h"
#include "signals.h"
#include "vmconvert/base/text.h"
#include "vmconvert/convert/attachments.h"
#include "vmconvert/convert/choose_format.h"
#include "vmconvert/convert/output_target.h"
#include "vmconvert/convert/png.h"
#include "vmconvert/io/output_folder.h"

namespace vmconvert::cli {
namespace {

/// What there is to extract: the attachments, and the screen as one more.
std::vector<Attachment> everything(const GuestImage& image) {
  std::vector<Attachment> items = image.attachments;
  if (image.screen) {
    items.push_back(
        {Attachment::Kind::screenshot, "screenshot.png", "image/png", encode_png(*image.screen)});
  }
  return items;
}

struct Choice {
  Attachment::Kind kind;
  std::string_view what;
  std::string_view option;
  std::string ExtractRequest::*output;
};
/// What can be asked for by name: the first of its kind.
constexpr std::array kChoices{
    Choice{Attachment::Kind::configuration, "configuration", "--config", &ExtractRequest::config},
    Choice{Attachment::Kind::device_description, "device description", "--vmdesc",
           &ExtractRequest::vmdesc},
    Choice{Attachment::Kind::screenshot, "screen", "--screenshot", &ExtractRequest::screenshot},
};

/// Refuses outputs that cannot be written, before any work is done.
void check_outputs(const ConvertRequest& request, const ExtractRequest& wanted) {
  for (const Choice& choice : kChoices) {
    const std::string& output = wanted.*choice.output;
    const bool binary = choice.kind == Attachment::Kind::screenshot;
    if (!output.empty()) check_output(request.input, output, request.force, binary);
  }
  if (!wanted.all.empty()) check_output_folder(wanted.all, request.force);
}

const Attachment* first_of(const std::vector<Attachment>& items, Attachment::Kind kind) {
  const auto found = std::find_if(items.begin(), items.end(),
                                  [&](const Attachment& item) { return item.kind == kind; });
  return found == items.end() ? nullptr : &*found;
}

/// The option that writes this item.
std::string_view option_of(const std::vector<Attachment>& items, const Attachment& item) {
  for (const Choice& choice : kChoices) {
    if (first_of(items, choice.kind) == &item) return choice.option;
  }
  return "--all";
}

void print_list(const std::vector<Attachment>& items) {
  for (const Attachment& item : items) {
    std::printf("%-12s  %10s  %s  %s\n", std::string(option_of(items, item)).c_str(),
                human_size(attachment_size(item)).c_str(), printable(item.name).c_str(),
                printable(item.media_type).c_str());
  }
}

/// Writes files that appear together, once all of them are complete.
class Extraction {
 public:
  Extraction(const GuestImage& image, bool force, TemporaryFiles& temporaries)
      : image_(image), force_(force), temporaries_(temporaries) {}

  void write(const Attachment& item, const std::string& output) {
    OutputTarget& target = targets_.emplace_back(output, force_, false, temporaries_);
    write_attachment(item, image_, target.sink());
    target.finish();
  }
  void write_all(const std::vector<Attachment>& items, const std::string& folder) {
    folder_.emplace(folder, force_, temporaries_);
    std::vector<std::string> names;
    for (const Attachment& item : items) names.push_back(item.name);
    names = safe_file_names(names);
    for (std::size_t i = 0; i < items.size(); ++i) write(items[i], folder + "/" + names[i]);
  }
  void commit() {
    for (OutputTarget& target : targets_) target.commit();
    if (folder_) folder_->keep();
  }

 private:
  const GuestImage& image_;
  bool force_;
  TemporaryFiles& temporaries_;
  std::optional<OutputFolder> folder_;
  std::deque<OutputTarget> targets_;  // destroyed before the folder they are in
};

}  // namespace

int run_extract(const Options& options) {
  TemporaryFiles temporaries;
  const SignalGuard guard(temporaries);
  ConsoleDiagnostics diagnostics(options.verbosity);
  const ConvertRequest& request = options.request;
  const ExtractRequest& wanted = options.extract;
  check_outputs(request, wanted);

  const Input input = Input::open(request.input, request.read.salvage, diagnostics);
  const std::string& name = input.source()->name();
  const Format& format = choose_format(all_formats(), request.from, *input.source());
  diagnostics.decision(name, "input format " + std::string(format.name));
  ReadOptions read = request.read;
  read.memory_needed = false;
  read.details = true;
  read.screen = !wanted.screenshot.empty() || !wanted.all.empty() || wanted.list;
  read.screen_needed = !wanted.screenshot.empty();
  const GuestImage image = read_image(format, input, read, diagnostics);
  const std::vector<Attachment> items = everything(image);

  for (const Choice& choice : kChoices) {
    if (!(wanted.*choice.output).empty() && first_of(items, choice.kind) == nullptr)
      throw Error(ErrorKind::unsupported, name, std::nullopt,
                  "holds no " + std::string(choice.what));
  }
  Extraction extraction(image, request.force, temporaries);
  for (const Choice& choice : kChoices) {
    const std::string& output = wanted.*choice.output;
    if (!output.empty()) extraction.write(*first_of(items, choice.kind), output);
  }
  if (!wanted.all.empty()) extraction.write_all(items, wanted.all);
  extraction.commit();
  if (wanted.list) print_list(items);
  return diagnostics.lost() ? kLost : kDone;
}

}  // namespace vmconvert::cli
