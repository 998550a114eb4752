/* Stands in for a QEMU with debug information: structures with QEMU's names and fields, in an order
   that QEMU never had. Writes what its "guest" sees to a file, prints a byte and waits. */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct MemoryRegion MemoryRegion;
typedef struct RAMBlock RAMBlock;
typedef struct Object Object;
typedef unsigned __int128 Int128;

struct TypeImpl { const char *name; };
typedef struct ObjectClass { long unused; struct TypeImpl *type; } ObjectClass;
struct Object { Object *parent; ObjectClass *class; };

struct RAMBlock {
  RAMBlock *le_next;
  struct { RAMBlock *le_next; } next;
  char idstr[256];
  uint64_t max_length, used_length;
  uint8_t *host;
  MemoryRegion *mr;
};
struct MemoryRegion {
  Object parent_obj;
  Int128 size;
  RAMBlock *ram_block;
  Object *owner;
  bool terminates, readonly, nonvolatile, ram_device, ram;
};
typedef struct AddrRange { Int128 size, start; } AddrRange;
typedef struct FlatRange { AddrRange addr; uint64_t offset_in_region; MemoryRegion *mr; } FlatRange;
typedef struct FlatView { unsigned nr; FlatRange *ranges; } FlatView;
typedef struct AddressSpace { FlatView *current_map; char *name; } AddressSpace;
typedef struct HostMemoryBackend { Object parent; bool dump; uint64_t size; } HostMemoryBackend;
typedef struct FWCfgVMCoreInfo {
  uint16_t host_format, guest_format;
  uint32_t size;
  uint64_t paddr;
} FWCfgVMCoreInfo;
typedef struct VMCoreInfoState { FWCfgVMCoreInfo vmcoreinfo; bool has_vmcoreinfo; } VMCoreInfoState;

AddressSpace address_space_memory;
HostMemoryBackend backend;

static void vmcoreinfo_realize(VMCoreInfoState *state) {
  static VMCoreInfoState *vmcoreinfo_state __attribute__((used));
  vmcoreinfo_state = state;
}

int main(int argc, char **argv) {
  enum { kSize = 1 << 20, kNote = 0x3000 };
  if (argc != 2) return 2;
#ifdef OTHER
  puts("another build");
#endif
  uint8_t *ram = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (size_t i = 0; i < kSize; i++) ram[i] = (uint8_t)(i * 2654435761U >> 13);
  const uint8_t head[24] = {0, 0, 0, 11, 0, 0, 0, 15, 0, 0, 0, 0, 'V', 'M', 'C', 'O', 'R', 'E',
                            'I', 'N', 'F', 'O', 0, 0}; /* big-endian, as on s390x */
  memcpy(ram + kNote, head, sizeof head);
  memcpy(ram + kNote + sizeof head, "OSRELEASE=6.1\n", 15);
  FILE *guest = fopen(argv[1], "wb");
  fwrite(ram + 0x1000, 1, kSize - 0x1000, guest); /* what lies first is seen last */
  fwrite(ram, 1, 0x1000, guest);
  fclose(guest);

  RAMBlock *block = calloc(1, sizeof *block);
  MemoryRegion *region = calloc(1, sizeof *region);
  *region = (MemoryRegion){.size = kSize, .ram_block = block, .terminates = true, .ram = true};
  *block = (RAMBlock){.idstr = "s390.ram", .max_length = kSize, .used_length = kSize, .host = ram, .mr = region};
  FlatRange *ranges = calloc(2, sizeof *ranges);
  ranges[0] = (FlatRange){{kSize - 0x1000, 0}, 0x1000, region};
  ranges[1] = (FlatRange){{0x1000, kSize - 0x1000}, 0, region};
  FlatView *view = calloc(1, sizeof *view);
  *view = (FlatView){2, ranges};
  address_space_memory.name = strdup("memory");
  address_space_memory.current_map = view;
  VMCoreInfoState *device = calloc(1, sizeof *device);
  *device = (VMCoreInfoState){{0, 1, 4096, kNote - 0x1000}, true};
  vmcoreinfo_realize(device);
  putchar('.');
  fflush(stdout);
  pause();
  return 0;
}
