/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DSDT of the PC machine. hw/acpi/tables.c copies it into guest memory and
 * leaves out the Scope of each device that the machine does not have: so every
 * device has a top-level Scope of its own, and there is nothing but Scopes.
 *
 * Kept small, and without methods for kernels started without firmware: a guest's AML
 * interpreter is slow. Processors are listed by the MADT alone, which is where systems look for them.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "POSADA", "POSADAPC", 1)
{
	Scope (\)
	{
		/* ACPI_S5_SLP_TYP of include/acpi.h, for PM1a and PM1b */
		Name (_S5, Package (2) { 0, 0 })
	}

	Scope (\_SB)
	{
		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x3f8, 0x3f8, 1, 8)
				IRQNoFlags () { 4 }
			})
		}
	}

	Scope (\_SB)
	{
		Device (COM2)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 2)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x2f8, 0x2f8, 1, 8)
				IRQNoFlags () { 3 }
			})
		}
	}

	Scope (\_SB)
	{
		Device (COM3)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 3)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x3e8, 0x3e8, 1, 8)
				IRQNoFlags () { 4 }
			})
		}
	}

	Scope (\_SB)
	{
		Device (COM4)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 4)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x2e8, 0x2e8, 1, 8)
				IRQNoFlags () { 3 }
			})
		}
	}

	Scope (\_SB)
	{
		Device (RTC)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x70, 0x70, 1, 2)
				IRQNoFlags () { 8 }
			})
		}
	}

	Scope (\_SB)
	{
		Device (KBD)
		{
			Name (_HID, EisaId ("PNP0303"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x60, 0x60, 1, 1)
				IO (Decode16, 0x64, 0x64, 1, 1)
				IRQNoFlags () { 1 }
			})
		}
	}

	Scope (\_SB)
	{
		Device (MOU)
		{
			Name (_HID, EisaId ("PNP0F13"))
			Name (_CRS, ResourceTemplate ()
			{
				IRQNoFlags () { 12 }
			})
		}
	}

	Scope (\_SB)
	{
		/* pvpanic, by the identity that guests know it by */
		Device (PEVT)
		{
			Name (_HID, "QEMU0001")
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x505, 0x505, 1, 1)
			})
		}
	}

	/* Its _PRT is made by hw/acpi/tables.c, for the slots in use. */
	Scope (\_SB)
	{
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					0, 0x00, 0xff, 0, 0x100)
				IO (Decode16, 0xcf8, 0xcf8, 1, 8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x0000, 0x0cf7, 0, 0x0cf8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x0d00, 0xffff, 0, 0xf300)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable,
					ReadWrite, 0, 0x000a0000, 0x000bffff, 0, 0x00020000)
				/* PCI_MEM_BASE to PCI_MEM_END of include/pci.h */
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable,
					ReadWrite, 0, 0xc0000000, 0xfebfffff, 0, 0x3ec00000)
				/* Depends on the machine: filled in by hw/acpi/tables.c */
				QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable,
					ReadWrite, 0, 0x8000000000, 0x8fffffffff, 0, 0x1000000000)
			})
		}
	}

	/*
	 * For machines with firmware: the ISA bridge's PIRQ registers (Intel 82371SB data sheet),
	 * and a link device for each, by which a system sees and chooses its interrupt.
	 */
	Scope (\_SB.PCI0)
	{
		Device (ISA)
		{
			Name (_ADR, 0x00010000)
			OperationRegion (ROUT, PCI_Config, 0x60, 4)
			Field (ROUT, ByteAcc, NoLock, Preserve)
			{
				RTEA, 8,
				RTEB, 8,
				RTEC, 8,
				RTED, 8
			}

			/* Bit 7 of a register: the input is off. */
			Method (STAT, 1, NotSerialized)
			{
				If (Arg0 & 0x80)
				{
					Return (0x09)
				}
				Return (0x0b)
			}

			Name (TMPL, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 0 }
			})

			Method (CURR, 1, Serialized)
			{
				CreateDWordField (TMPL, 0x05, INUM)
				INUM = 0
				If (!(Arg0 & 0x80))
				{
					INUM = Arg0 & 0x0f
				}
				Return (TMPL)
			}

			Method (PICK, 1, NotSerialized)
			{
				CreateDWordField (Arg0, 0x05, INUM)
				Return (INUM)
			}
		}
	}

	Scope (\_SB)
	{
		Device (LNKA)
		{
			Name (_HID, EisaId ("PNP0C0F"))
			Name (_UID, 0)
			Name (_PRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 }
			})
			Method (_STA, 0, NotSerialized)
			{
				Return (\_SB.PCI0.ISA.STAT (\_SB.PCI0.ISA.RTEA))
			}
			Method (_CRS, 0, NotSerialized)
			{
				Return (\_SB.PCI0.ISA.CURR (\_SB.PCI0.ISA.RTEA))
			}
			Method (_DIS, 0, NotSerialized)
			{
				\_SB.PCI0.ISA.RTEA |= 0x80
			}
			Method (_SRS, 1, NotSerialized)
			{
				\_SB.PCI0.ISA.RTEA = \_SB.PCI0.ISA.PICK (Arg0)
			}
		}
	}

	Scope (\_SB)
	{
		Device (LNKB)
		{
			Name (_HID, EisaId ("PNP0C0F"))
			Name (_UID, 1)
			Name (_PRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 }
			})
			Method (_STA, 0, NotSerialized)
			{
				Return (\_SB.PCI0.ISA.STAT (\_SB.PCI0.ISA.RTEB))
			}
			Method (_CRS, 0, NotSerialized)
			{
				Return (\_SB.PCI0.ISA.CURR (\_SB.PCI0.ISA.RTEB))
			}
			Method (_DIS, 0, NotSerialized)
			{
				\_SB.PCI0.ISA.RTEB |= 0x80
			}
			Method (_SRS, 1, NotSerialized)
			{
				\_SB.PCI0.ISA.RTEB = \_SB.PCI0.ISA.PICK (Arg0)
			}
		}
	}

	Scope (\_SB)
	{
		Device (LNKC)
		{
			Name (_HID, EisaId ("PNP0C0F"))
			Name (_UID, 2)
			Name (_PRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 }
			})
			Method (_STA, 0, NotSerialized)
			{
				Return (\_SB.PCI0.ISA.STAT (\_SB.PCI0.ISA.RTEC))
			}
			Method (_CRS, 0, NotSerialized)
			{
				Return (\_SB.PCI0.ISA.CURR (\_SB.PCI0.ISA.RTEC))
			}
			Method (_DIS, 0, NotSerialized)
			{
				\_SB.PCI0.ISA.RTEC |= 0x80
			}
			Method (_SRS, 1, NotSerialized)
			{
				\_SB.PCI0.ISA.RTEC = \_SB.PCI0.ISA.PICK (Arg0)
			}
		}
	}

	Scope (\_SB)
	{
		Device (LNKD)
		{
			Name (_HID, EisaId ("PNP0C0F"))
			Name (_UID, 3)
			Name (_PRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 }
			})
			Method (_STA, 0, NotSerialized)
			{
				Return (\_SB.PCI0.ISA.STAT (\_SB.PCI0.ISA.RTED))
			}
			Method (_CRS, 0, NotSerialized)
			{
				Return (\_SB.PCI0.ISA.CURR (\_SB.PCI0.ISA.RTED))
			}
			Method (_DIS, 0, NotSerialized)
			{
				\_SB.PCI0.ISA.RTED |= 0x80
			}
			Method (_SRS, 1, NotSerialized)
			{
				\_SB.PCI0.ISA.RTED = \_SB.PCI0.ISA.PICK (Arg0)
			}
		}
	}
}
