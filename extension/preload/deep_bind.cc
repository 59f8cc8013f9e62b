#include "extension/preload/deep_bind.h"

#include <dlfcn.h>
#include <elf.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>

#include "extension/preload/preload.h"

namespace turso::preload {

namespace {

#if defined(__x86_64__)
constexpr unsigned kSlotTypes[] = {R_X86_64_JUMP_SLOT, R_X86_64_GLOB_DAT};
#elif defined(__aarch64__)
constexpr unsigned kSlotTypes[] = {R_AARCH64_JUMP_SLOT, R_AARCH64_GLOB_DAT};
#else
#error "the relocations of this processor"
#endif

constexpr int kMaxDeepBound = 64;
std::atomic<const link_map*> g_deep_bound[kMaxDeepBound];

void Remember(const link_map* library) {
  for (std::atomic<const link_map*>& place : g_deep_bound) {
    const link_map* expected = nullptr;
    if (place.compare_exchange_strong(expected, library) || expected == library) return;
  }
}

// The tables of one loaded object
// (https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html).
struct Tables {
  const ElfW(Sym) * symbols = nullptr;
  const char* strings = nullptr;
  const ElfW(Rela) * relocations[2] = {nullptr, nullptr};
  size_t sizes[2] = {0, 0};
};

Tables Read(ElfW(Addr) base, const ElfW(Dyn) * entry) {
  // The loader has added the base already, but for objects that it did not load itself.
  const auto at = [base](ElfW(Addr) value) { return value < base ? value + base : value; };
  Tables tables;
  for (; entry->d_tag != DT_NULL; ++entry) {
    switch (entry->d_tag) {
      case DT_SYMTAB:
        tables.symbols = reinterpret_cast<const ElfW(Sym)*>(at(entry->d_un.d_ptr));
        break;
      case DT_STRTAB: tables.strings = reinterpret_cast<const char*>(at(entry->d_un.d_ptr)); break;
      case DT_JMPREL:
        tables.relocations[0] = reinterpret_cast<const ElfW(Rela)*>(at(entry->d_un.d_ptr));
        break;
      case DT_PLTRELSZ: tables.sizes[0] = entry->d_un.d_val; break;
      case DT_RELA:
        tables.relocations[1] = reinterpret_cast<const ElfW(Rela)*>(at(entry->d_un.d_ptr));
        break;
      case DT_RELASZ: tables.sizes[1] = entry->d_un.d_val; break;
      default: break;
    }
  }
  return tables;
}

bool IsSlot(unsigned type) { return type == kSlotTypes[0] || type == kSlotTypes[1]; }

// The slot may be in what the loader has made read-only.
void Write(void** slot, void* value, bool is_read_only) {
  const auto size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  void* page = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(slot) & ~(size - 1));
  if (is_read_only && mprotect(page, size, PROT_READ | PROT_WRITE) != 0) return;
  __atomic_store_n(slot, value, __ATOMIC_RELEASE);
  if (is_read_only) mprotect(page, size, PROT_READ);
}

// Leads the object's calls of the three names to us. True if one went elsewhere.
bool LeadToUs(const dl_phdr_info& object) {
  const ElfW(Dyn)* dynamic = nullptr;
  ElfW(Addr) read_only_begin = 0, read_only_end = 0;
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = object.dlpi_phdr[i];
    const ElfW(Addr) begin = object.dlpi_addr + header.p_vaddr;
    if (header.p_type == PT_DYNAMIC) dynamic = reinterpret_cast<const ElfW(Dyn)*>(begin);
    if (header.p_type == PT_GNU_RELRO) {
      read_only_begin = begin;
      read_only_end = begin + header.p_memsz;
    }
  }
  if (dynamic == nullptr) return false;
  const Tables tables = Read(object.dlpi_addr, dynamic);
  if (tables.symbols == nullptr || tables.strings == nullptr) return false;
  bool changed = false;
  for (int table = 0; table < 2; ++table) {
    const size_t count = tables.sizes[table] / sizeof(ElfW(Rela));
    for (size_t i = 0; tables.relocations[table] != nullptr && i < count; ++i) {
      const ElfW(Rela)& relocation = tables.relocations[table][i];
      if (!IsSlot(ELF64_R_TYPE(relocation.r_info))) continue;
      const ElfW(Sym)& symbol = tables.symbols[ELF64_R_SYM(relocation.r_info)];
      if (symbol.st_shndx != SHN_UNDEF) continue;
      void* ours = OurOpen(KindOf(tables.strings + symbol.st_name));
      const ElfW(Addr) address = object.dlpi_addr + relocation.r_offset;
      auto** slot = reinterpret_cast<void**>(address);
      if (ours == nullptr || *slot == ours) continue;
      Write(slot, ours, address >= read_only_begin && address < read_only_end);
      changed = true;
    }
  }
  return changed;
}

// The objects that were changed, by their program headers, which are in them. Under the loader's
// lock nothing else of it may be called.
struct Changed {
  const void* objects[kMaxDeepBound];
  int count = 0;
};

int Visit(dl_phdr_info* object, size_t, void* argument) {
  auto* changed = static_cast<Changed*>(argument);
  if (LeadToUs(*object) && changed->count < kMaxDeepBound) {
    changed->objects[changed->count++] = object->dlpi_phdr;
  }
  return 0;
}

Changed VisitAll() {
  Changed changed;
  dl_iterate_phdr(Visit, &changed);
  return changed;
}

}  // namespace

void* OpenDeepBound(const char* file, int flags) {
  // What is there already is bound to us, at the latest at its first call. Done now, whatever is
  // found to lead elsewhere afterwards came with this file.
  VisitAll();
  void* handle = RealDlopen()(file, flags);
  if (handle == nullptr) return nullptr;
  const Changed changed = VisitAll();
  for (int i = 0; i < changed.count; ++i) {
    Dl_info info;
    void* library = nullptr;
    if (dladdr1(changed.objects[i], &info, &library, RTLD_DL_LINKMAP) != 0) {
      Remember(static_cast<const link_map*>(library));
    }
  }
  dlerror();  // None of ours is the caller's.
  return handle;
}

bool IsDeepBound(const link_map* library) {
  for (const std::atomic<const link_map*>& place : g_deep_bound) {
    if (place.load(std::memory_order_relaxed) == library) return true;
  }
  return false;
}

}  // namespace turso::preload
