// SPDX-License-Identifier: MIT
/*
 * The PCI function that the device is.
 *
 * Programs find a card by walking sysfs: a DRM node is taken for an amdgpu only where its parent
 * is a PCI function of that vendor.  A function is no more than what answers reads of its
 * configuration space, so a root bus of our own, whose operations read an array, has one: a
 * display controller without memory windows and without an interrupt.  The rest is the PCI core's,
 * binding a driver and surprise removal by `echo 1 >remove` included.
 *
 * Invariant: the configuration space is constant but for the command register, which the core
 * writes.  The PCI core serialises accesses.
 */

#include <linux/module.h>
#include <linux/pci.h>
#include <linux/unaligned.h>

#include "agm_asic.h"
#include "agm_device.h"

#define AGM_PCI_BUS 3
#define AGM_PCI_COMMAND (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

static u8 agm_config[PCI_CFG_SPACE_SIZE];
static struct pci_bus *agm_bus;
static struct resource agm_bus_number = {
	.name = "amdgpu-model bus",
	.start = AGM_PCI_BUS,
	.end = AGM_PCI_BUS,
	.flags = IORESOURCE_BUS,
};

static void agm_config_init(void)
{
	memset(agm_config, 0, sizeof(agm_config));
	put_unaligned_le16(AGM_PCI_VENDOR, agm_config + PCI_VENDOR_ID);
	put_unaligned_le16(AGM_PCI_DEVICE, agm_config + PCI_DEVICE_ID);
	put_unaligned_le32(PCI_CLASS_DISPLAY_VGA << 16 | AGM_PCI_REVISION,
			   agm_config + PCI_CLASS_REVISION);
	put_unaligned_le16(AGM_PCI_VENDOR, agm_config + PCI_SUBSYSTEM_VENDOR_ID);
	put_unaligned_le16(AGM_PCI_SUBSYSTEM, agm_config + PCI_SUBSYSTEM_ID);
}

static int agm_config_read(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 *val)
{
	if (bus->number != AGM_PCI_BUS || devfn || where + size > PCI_CFG_SPACE_SIZE)
		return PCIBIOS_DEVICE_NOT_FOUND;
	switch (size) {
	case 1:
		*val = agm_config[where];
		break;
	case 2:
		*val = get_unaligned_le16(agm_config + where);
		break;
	default:
		*val = get_unaligned_le32(agm_config + where);
		break;
	}
	return PCIBIOS_SUCCESSFUL;
}

static int agm_config_write(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 val)
{
	if (bus->number != AGM_PCI_BUS || devfn)
		return PCIBIOS_DEVICE_NOT_FOUND;
	if (where == PCI_COMMAND)
		put_unaligned_le16(val & AGM_PCI_COMMAND, agm_config + where);
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops agm_pci_ops = {
	.read = agm_config_read,
	.write = agm_config_write,
};

static int agm_pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct agm_device *dev;
	int ret;

	/* Not a real card that happens to be in this machine. */
	if (pdev->bus != agm_bus && agm_bus)
		return -ENODEV;
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(44));
	if (ret)
		return ret;
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);
	dev = agm_device_create(&pdev->dev);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	pci_set_drvdata(pdev, dev);
	return 0;
}

static void agm_pci_remove(struct pci_dev *pdev)
{
	agm_device_remove(pci_get_drvdata(pdev));
}

static const struct pci_device_id agm_pci_ids[] = {
	{ PCI_DEVICE_SUB(AGM_PCI_VENDOR, AGM_PCI_DEVICE, AGM_PCI_VENDOR, AGM_PCI_SUBSYSTEM) }, {}
};

static struct pci_driver agm_pci_driver = {
	.name = "amdgpu",
	.id_table = agm_pci_ids,
	.probe = agm_pci_probe,
	.remove = agm_pci_remove,
};

int agm_pci_plug(void)
{
	LIST_HEAD(resources);
	int ret;

	agm_config_init();
	ret = pci_register_driver(&agm_pci_driver);
	if (ret)
		return ret;
	pci_add_resource(&resources, &agm_bus_number);
	pci_lock_rescan_remove();
	agm_bus = pci_scan_root_bus(NULL, AGM_PCI_BUS, &agm_pci_ops, NULL, &resources);
	if (agm_bus)
		pci_bus_add_devices(agm_bus);
	pci_unlock_rescan_remove();
	if (agm_bus)
		return 0;
	pci_free_resource_list(&resources);
	pci_unregister_driver(&agm_pci_driver);
	return -ENOMEM;
}

void agm_pci_unplug(void)
{
	pci_lock_rescan_remove();
	pci_stop_root_bus(agm_bus);
	pci_remove_root_bus(agm_bus);
	pci_unlock_rescan_remove();
	pci_unregister_driver(&agm_pci_driver);
}
