#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <iostream>
#include <thread>

#include "commands.h"
#include "messages.h"
#include "vmconvert/base/text.h"
#include "vmconvert_version.h"

namespace vmconvert::cli {
namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  vmconvert guest.qevm -o guest.elf        QEMU save to a vmcore for crash\n"
    "  vmconvert guest.save -o guest.lime       libvirt save to a LiME image\n"
    "  vmconvert - --to raw -o guest.mem < in   from standard input to a raw image\n"
    "\n"
    "Output suffixes: .elf .core .vmcore .dump | .raw .dd .img .mem .bin | .lime\n"
    "Exit codes: 0 done; 1 failed, nothing left behind; 2 usage; 3 done, but\n"
    "--salvage lost something; 4 verify has doubts.";

// Names of subcommands. A file of that name is reached as ./NAME.
constexpr const char* kInfo = "info";
constexpr const char* kVerify = "verify";
constexpr const char* kExtract = "extract";
constexpr const char* kFormats = "formats";

constexpr const char* kInfoFooter =
    "Examples:\n"
    "  vmconvert info guest.save\n"
    "  vmconvert info --json guest.qevm | jq -r .guest.kernel.release\n"
    "\n"
    "Exit codes: 0 done; 1 failed; 2 usage; 3 done, but --salvage lost something.";

constexpr const char* kExtractFooter =
    "Examples:\n"
    "  vmconvert extract guest.qevm --screenshot screen.png\n"
    "  vmconvert extract guest.save --config - | less\n"
    "  vmconvert extract guest.save --all folder\n"
    "\n"
    "OUTPUT may be -, standard output. Files appear whole or not at all.\n"
    "Exit codes: 0 done; 1 failed, nothing left behind; 2 usage; 3 done, but\n"
    "--salvage lost something.";

unsigned default_threads() { return std::clamp(std::thread::hardware_concurrency(), 1U, 8U); }

constexpr std::uint64_t kBlockAlignment = 64 * 1024;  // the largest target page of QEMU

constexpr std::array kUsages{
    std::pair(kInfo, "vmconvert info INPUT [--json] [--tags] [OPTIONS]"),
    std::pair(kExtract, "vmconvert extract INPUT {--list | --all FOLDER | --config OUTPUT ...}"),
    std::pair(kVerify, "vmconvert verify INPUT [OPTIONS]"),
    std::pair(kFormats, "vmconvert formats"),
};

/// CLI11's layout with our synopsis.
class HelpFormatter final : public CLI::Formatter {
 public:
  HelpFormatter() { column_width(28); }
  std::string make_usage(const CLI::App* app, std::string) const override {
    for (const auto& [name, usage] : kUsages) {
      if (app->get_name() == name) return "Usage: " + std::string(usage) + "\n";
    }
    std::string all = "Usage: vmconvert INPUT -o OUTPUT [OPTIONS]\n";
    for (const auto& entry : kUsages) all += "       " + std::string(entry.second) + "\n";
    return all;
  }
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override {
    std::string text = CLI::Formatter::make_help(app, std::move(name), mode);
    for (std::size_t at = 0; (at = text.find("\n\n\n")) != std::string::npos;) text.erase(at, 1);
    return text;
  }
};

/// CLI11's texts show its types and limits; these say what is wrong.
std::string explain(const CLI::ParseError& error, const CLI::App& app) {
  std::string text = error.what();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const std::vector<std::string> extras = app.remaining(true);
    const auto first = std::find_if(extras.begin(), extras.end(),
                                    [](const std::string& extra) { return extra != "--"; });
    return "unexpected argument " + vmconvert::quoted(first != extras.end() ? *first : "--");
  }
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    const bool missing = text.ends_with("missing");
    return text.substr(0, text.find(": ")) +
           (missing ? " needs a value" : " is given more than once");
  }
  std::replace(text.begin(), text.end(), '\n', ' ');
  return printable(text);
}

void set_size(const std::string& option, const std::string& text, std::uint64_t& to) {
  const auto size = parse_size(text);
  if (!size)
    throw CLI::ValidationError(
        option, vmconvert::quoted(text) + " is not a size (as in 3G, 512M, 0x80000000)");
  to = *size;
}

void add_block(const std::string& text, ReadOptions& read) {
  const auto equals = text.rfind('=');
  const auto address =
      equals == std::string::npos ? std::nullopt : parse_size(text.substr(equals + 1));
  if (!address || equals == 0 || *address % kBlockAlignment != 0) {
    throw CLI::ValidationError(
        "--block",
        vmconvert::quoted(text) + " is not NAME=ADDRESS with an address on a 64 KiB border");
  }
  read.block_addresses.insert_or_assign(text.substr(0, equals), GuestPhysAddr{*address});
}

void set_machine(const std::string& text, ReadOptions& read) {
  read.machine = machine_by_name(text);
  if (read.machine) return;
  throw CLI::ValidationError("--arch",
                             vmconvert::quoted(text) + " is not one of " + machine_names());
}

void set_xen_layout(const std::string& text, ReadOptions& read) {
  if (text == "resolved") {
    read.xen_layout = XenLayout::resolved;
  } else if (text == "machine") {
    read.xen_layout = XenLayout::machine;
  } else if (text == "asis") {
    read.xen_layout = XenLayout::asis;
  } else {
    throw CLI::ValidationError("--xen-layout",
                               vmconvert::quoted(text) + " is not one of resolved, machine, asis");
  }
}

/// INPUT and how it is read, for every command that reads one.
void add_input_options(CLI::App& app, Options& options) {
  ConvertRequest& request = options.request;
  app.add_option("INPUT", request.input, "Saved machine; - is standard input")->option_text(" ");
  app.add_option("--from", request.from, "Input format [told by content]")
      ->option_text("NAME")
      ->group("Input");
  app.add_flag("--salvage", request.read.salvage, "Convert what a damaged input still holds")
      ->group("Input");
  app.add_option_function<std::string>(
         "--below-4g",
         [&](const std::string& text) {
           set_size("--below-4g", text, request.read.below_4g.emplace());
         },
         "RAM below the 32-bit PCI hole [from input]")
      ->option_text("SIZE")
      ->group("Input");
  app.add_option_function<std::vector<std::string>>(
         "--block",
         [&](const std::vector<std::string>& texts) {
           for (const std::string& text : texts) add_block(text, request.read);
         },
         "Guest address of a memory block")
      ->option_text("NAME=ADDRESS")
      ->allow_extra_args(false)
      ->group("Input");
  app.add_option("--snapshot", request.read.snapshot,
                 "Which of several saved states [the only one]")
      ->option_text("ID|NAME")
      ->check([](const std::string& text) {
        return text.empty() ? std::string("needs an ID or a NAME") : std::string();
      })
      ->group("Input");
  app.add_option("--memory", request.read.memory_file, "VMware: the memory of the saved state")
      ->option_text("FILE")
      ->group("Input");
  app.add_option("--state", request.read.state_file, "VMware: the saved state of the memory")
      ->option_text("FILE")
      ->group("Input");
  app.add_option("--debug-file", request.read.debug_file, "Debug information of the QEMU in a core")
      ->option_text("FILE")
      ->group("Input");
  app.add_option("--executable", request.read.executable, "Executable of the QEMU in a core")
      ->option_text("FILE")
      ->group("Input");
  request.read.debug_root = "/usr/lib/debug";
  app.add_option_function<std::string>(
         "--arch", [&](const std::string& text) { set_machine(text, request.read); },
         "raw, lime: guest architecture [x86_64]")
      ->option_text("NAME")
      ->group("Input");
  app.add_option_function<std::string>(
         "--xen-layout", [&](const std::string& text) { set_xen_layout(text, request.read); },
         "Xen PV tables: resolved, machine, asis [resolved]")
      ->option_text("HOW")
      ->group("Input");
}

void add_kernel_options(CLI::App& app, Options& options) {
  app.add_option("--vmlinux", options.request.kernel.vmlinux,
                 "The guest kernel's debug image [none]")
      ->option_text("FILE")
      ->group("Kernel");
  app.add_option("--vmcoreinfo", options.request.kernel.vmcoreinfo,
                 "VMCOREINFO text to use [the guest's]")
      ->option_text("FILE")
      ->group("Kernel");
  app.add_flag_callback(
         "--no-scan", [&] { options.request.kernel.scan = Scan::none; },
         "Do not look for VMCOREINFO in memory")
      ->group("Kernel");
}

void add_force(CLI::App& app, Options& options) {
  app.add_flag("-f,--force", options.request.force, "Replace an existing output")->group("Output");
}

void add_output_options(CLI::App& app, Options& options) {
  ConvertRequest& request = options.request;
  app.add_option("-o,--output", request.output, "File to write; - is standard output")
      ->option_text("OUTPUT")
      ->group("Output");
  app.add_option("--to", request.to, "Output format: elf, raw, lime [by suffix]")
      ->option_text("NAME")
      ->group("Output");
  add_force(app, options);
  app.add_option("--remap-log", request.remap_log, "Xen PV: list of pages that were translated")
      ->option_text("FILE")
      ->group("Output");
  app.add_flag("--verify", options.verify, "Check the output as `vmconvert verify` does")
      ->group("Output");
  app.add_flag_callback(
         "--no-sparse", [&] { request.sparse = false; }, "Write zeros instead of leaving holes")
      ->group("Output");
  app.add_option_function<std::string>(
         "--max-gap",
         [&](const std::string& text) { set_size("--max-gap", text, request.write.max_gap); },
         "raw: largest hole to make [1T]")
      ->option_text("SIZE")
      ->group("Output");
  request.threads = default_threads();
  app.add_option("--threads", request.threads, "Threads that copy [one per processor]")
      ->option_text("N")
      ->check([](const std::string& text) {
        const auto count = vmconvert::parse_size(text);
        const bool good = count && *count >= 1 && *count <= 64;
        return good ? std::string() : vmconvert::quoted(text) + " is not a number from 1 to 64";
      })
      ->group("Output");
}

void add_message_options(CLI::App& app, Options& options) {
  app.add_flag_callback(
         "-q,--quiet", [&] { options.verbosity = -1; }, "Errors and losses only")
      ->group("Messages");
  app.add_flag_function(
         "-v,--verbose",
         [&](std::int64_t count) {
           options.verbosity = static_cast<int>(std::min<std::int64_t>(count, 2));
         },
         "Decisions (-v) and details (-vv)")
      ->group("Messages");
}

void add_progress(CLI::App& app, Options& options) {
  app.add_option("--progress", options.progress, "auto, never, always [auto]")
      ->option_text("WHEN")
      ->check(CLI::IsMember({"auto", "never", "always"}))
      ->group("Messages");
}

CLI::App& add_command(CLI::App& app, const char* name, const char* summary, Command command,
                      Options& options) {
  CLI::App& added = *app.add_subcommand(name, summary);
  added.footer("");
  added.set_help_flag("-h,--help", "Show this text")->group("Messages");
  added.parse_complete_callback([&options, command] { options.command = command; });
  return added;
}

void add_info(CLI::App& app, Options& options) {
  CLI::App& info = add_command(app, kInfo, "Show what the input holds", Command::info, options);
  add_input_options(info, options);
  info.add_flag("--json", options.json, "For programs: docs/info.md")->group("Output");
  info.add_flag("--tags", options.tags, "VMware: every tag of the state")->group("Output");
  info.add_flag("--hexdump", options.hexdump, "VMware: the same, with the bytes of blocks")
      ->group("Output");
  add_message_options(info, options);
  info.footer(kInfoFooter);
}

void add_extract(CLI::App& app, Options& options) {
  CLI::App& extract =
      add_command(app, kExtract, "Write what is embedded in the input", Command::extract, options);
  add_input_options(extract, options);
  const auto add = [&](const char* name, std::string& to, const char* value, const char* summary) {
    extract.add_option(name, to, summary)->option_text(value)->group("Output");
  };
  ExtractRequest& wanted = options.extract;
  add("--config", wanted.config, "OUTPUT", "Configuration: domain XML, .vmx");
  add("--vmdesc", wanted.vmdesc, "OUTPUT", "Device description: JSON of QEMU");
  add("--screenshot", wanted.screenshot, "OUTPUT", "What the display showed, as PNG");
  add("--all", wanted.all, "FOLDER", "Everything, each as a file");
  extract.add_flag("--list", wanted.list, "Show what there is")->group("Output");
  add_force(extract, options);
  add_message_options(extract, options);
  extract.footer(kExtractFooter);
}

void check_extract(const ExtractRequest& wanted) {
  const std::array outputs{&wanted.config, &wanted.vmdesc, &wanted.screenshot};
  std::vector<std::string> given;
  for (const std::string* output : outputs) {
    if (!output->empty()) given.push_back(*output);
  }
  if (given.empty() && wanted.all.empty() && !wanted.list)
    throw CLI::RequiredError("--config, --vmdesc, --screenshot, --all or --list");
  std::sort(given.begin(), given.end());
  if (const auto twice = std::adjacent_find(given.begin(), given.end()); twice != given.end())
    throw CLI::ValidationError(kExtract, vmconvert::quoted(*twice) + " is given for two outputs");
  if (wanted.list && std::find(given.begin(), given.end(), "-") != given.end())
    throw CLI::ValidationError("--list", "needs standard output for itself");
}

void add_verify(CLI::App& app, Options& options) {
  CLI::App& verify = add_command(app, kVerify, "Tell whether analysis tools will open the input",
                                 Command::verify, options);
  add_input_options(verify, options);
  add_kernel_options(verify, options);
  add_message_options(verify, options);
}

/// What CLI11 cannot express. @throws CLI::ParseError
void check_arguments(const CLI::App& app, const Options& options) {
  const ConvertRequest& request = options.request;
  if (const auto commands = app.get_subcommands(); !commands.empty()) {
    // Options of the program itself: those before the command.
    for (const CLI::Option* option : app.get_options()) {
      if (option->count() == 0) continue;
      const std::string& name = commands.front()->get_name();
      throw CLI::ValidationError(
          name, name == kFormats ? "takes no other arguments" : "comes before all other arguments");
    }
  }
  if (options.command == Command::formats) return;
  if (request.input.empty()) throw CLI::RequiredError("INPUT");
  if (options.command == Command::convert && request.output.empty())
    throw CLI::RequiredError("-o OUTPUT");
  if (options.verify && request.output == "-")
    throw CLI::ValidationError("--verify", "needs a file as OUTPUT");
  if (options.command == Command::extract) check_extract(options.extract);
}

}  // namespace

std::optional<int> parse_arguments(int argc, char** argv, Options& options) {
  CLI::App app("Turns a saved virtual machine into a memory image that analysis tools open.",
               "vmconvert");
  app.formatter(std::make_shared<HelpFormatter>());
  app.footer(kFooter);
  app.set_help_flag("-h,--help", "Show this text")->group("Messages");
  app.set_version_flag("--version", "vmconvert " VMCONVERT_VERSION, "Show the version")
      ->group("Messages");
  add_input_options(app, options);
  add_kernel_options(app, options);
  add_output_options(app, options);
  add_message_options(app, options);
  add_progress(app, options);
  add_info(app, options);
  add_extract(app, options);
  add_verify(app, options);
  add_command(app, kFormats, "List input and output formats", Command::formats, options);
  app.require_subcommand(0, 1);
  try {
    app.parse(argc, argv);
    check_arguments(app, options);
  } catch (const CLI::Success& success) {
    return app.exit(success);  // --help and --version
  } catch (const CLI::ParseError& error) {
    print_error(explain(error, app) + " (see: vmconvert --help)");
    return kUsage;
  }
  return std::nullopt;
}

}  // namespace vmconvert::cli
