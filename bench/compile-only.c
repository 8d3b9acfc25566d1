/*
 * A Vulkan layer under which a driver records and runs nothing: what is left of it is its compiler. Drivers for a
 * device that is not there (RADV_FORCE_FAMILY) need this. The few declarations of vulkan.h and vk_layer.h that it
 * uses stand here, so that it compiles anywhere.
 */
#include <stdlib.h>
#include <string.h>

typedef void (*Function)(void);
typedef Function (*Lookup)(void *object, const char *name);
typedef int (*CreateInstance)(const void *info, const void *allocator, void **instance);
typedef int (*CreateDevice)(void *gpu, const void *info, const void *allocator, void **device);

/* VkLayerInstanceCreateInfo and VkLayerDeviceCreateInfo, as far as they are alike. */
struct Link {
  struct Link *next;
  Lookup nextInstance, nextDevice;
};
struct CreateInfo {
  int type;
  const struct CreateInfo *chained;
  int function; /* 0: a link of the chain of layers */
  struct Link *link;
};
enum { INSTANCE_LINK = 47, DEVICE_LINK = 48 };

static Lookup next_instance, next_device;
static void *instance_made;

static struct CreateInfo *find_link(const struct CreateInfo *info, int type) {
  while (info && !(info->type == type && info->function == 0)) info = info->chained;
  return (struct CreateInfo *)info;
}

static int success(void) { return 0; }

static int map_memory(void *device, void *memory, unsigned long offset, unsigned long size, unsigned flags, void **data) {
  (void)device, (void)memory, (void)offset, (void)flags;
  *data = calloc(1, size == ~0ul ? 64 << 20 : size);
  return 0;
}

__attribute__((visibility("default"))) Function vkGetDeviceProcAddr(void *device, const char *name) {
  static const char *const empty[] = {
      "vkBeginCommandBuffer", "vkEndCommandBuffer", "vkResetCommandPool", "vkQueueSubmit",
      "vkQueueSubmit2",       "vkQueueWaitIdle",    "vkDeviceWaitIdle",   "vkWaitForFences",
      "vkGetFenceStatus",     "vkResetFences",      "vkUnmapMemory",      "vkFlushMappedMemoryRanges",
      "vkInvalidateMappedMemoryRanges"};
  if (!strcmp(name, "vkGetDeviceProcAddr")) return (Function)vkGetDeviceProcAddr;
  if (!strcmp(name, "vkMapMemory")) return (Function)map_memory;
  if (!strncmp(name, "vkCmd", 5)) return (Function)success;
  for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
    if (!strcmp(name, empty[i])) return (Function)success;
  return next_device(device, name);
}

static int create_device(void *gpu, const struct CreateInfo *info, const void *allocator, void **device) {
  struct CreateInfo *here = find_link(info->chained, DEVICE_LINK);
  Lookup lookup = here->link->nextInstance;
  next_device = here->link->nextDevice;
  here->link = here->link->next;
  return ((CreateDevice)lookup(NULL, "vkCreateDevice"))(gpu, info, allocator, device);
}

static int create_instance(const struct CreateInfo *info, const void *allocator, void **instance) {
  struct CreateInfo *here = find_link(info->chained, INSTANCE_LINK);
  next_instance = here->link->nextInstance;
  here->link = here->link->next;
  int result = ((CreateInstance)next_instance(NULL, "vkCreateInstance"))(info, allocator, instance);
  instance_made = *instance;
  return result;
}

__attribute__((visibility("default"))) Function vkGetInstanceProcAddr(void *instance, const char *name) {
  if (!strcmp(name, "vkGetInstanceProcAddr")) return (Function)vkGetInstanceProcAddr;
  if (!strcmp(name, "vkGetDeviceProcAddr")) return (Function)vkGetDeviceProcAddr;
  if (!strcmp(name, "vkCreateInstance")) return (Function)create_instance;
  if (!strcmp(name, "vkCreateDevice")) return (Function)create_device;
  return next_instance ? next_instance(instance ? instance : instance_made, name) : NULL;
}
