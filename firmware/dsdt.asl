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

	/*
	 * Also for machines with firmware: slots that devices come to and go from, by the registers of
	 * hw/acpi/pci_hotplug.c, a bit a slot. They are the last eight, which are filled last: each costs
	 * Linux on a software KVM 90 ms. include/acpi.h has their range, too.
	 */
	Scope (\_SB.PCI0)
	{
		Device (PHPR)
		{
			Name (_HID, EisaId ("PNP0A06"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0xae00, 0xae00, 1, 0x14)
			})
		}
		OperationRegion (HPIO, SystemIO, 0xae00, 0x0c)
		Field (HPIO, DWordAcc, NoLock, WriteAsZeros)
		{
			HPUP, 32,
			HPDN, 32,
			HPEJ, 32
		}
		Method (EJCT, 1)
		{
			HPEJ = 1 << Arg0
		}

		Device (SC0) { Name (_ADR, 0x00180000) Name (_SUN, 24) Method (_EJ0, 1) { EJCT (_SUN) } }
		Device (SC8) { Name (_ADR, 0x00190000) Name (_SUN, 25) Method (_EJ0, 1) { EJCT (_SUN) } }
		Device (SD0) { Name (_ADR, 0x001a0000) Name (_SUN, 26) Method (_EJ0, 1) { EJCT (_SUN) } }
		Device (SD8) { Name (_ADR, 0x001b0000) Name (_SUN, 27) Method (_EJ0, 1) { EJCT (_SUN) } }
		Device (SE0) { Name (_ADR, 0x001c0000) Name (_SUN, 28) Method (_EJ0, 1) { EJCT (_SUN) } }
		Device (SE8) { Name (_ADR, 0x001d0000) Name (_SUN, 29) Method (_EJ0, 1) { EJCT (_SUN) } }
		Device (SF0) { Name (_ADR, 0x001e0000) Name (_SUN, 30) Method (_EJ0, 1) { EJCT (_SUN) } }
		Device (SF8) { Name (_ADR, 0x001f0000) Name (_SUN, 31) Method (_EJ0, 1) { EJCT (_SUN) } }

		/* Slots, and what has happened there: 1 device check, 3 eject request */
		Method (TELL, 2)
		{
			If (Arg0 & 0x01000000) { Notify (SC0, Arg1) }
			If (Arg0 & 0x02000000) { Notify (SC8, Arg1) }
			If (Arg0 & 0x04000000) { Notify (SD0, Arg1) }
			If (Arg0 & 0x08000000) { Notify (SD8, Arg1) }
			If (Arg0 & 0x10000000) { Notify (SE0, Arg1) }
			If (Arg0 & 0x20000000) { Notify (SE8, Arg1) }
			If (Arg0 & 0x40000000) { Notify (SF0, Arg1) }
			If (Arg0 & 0x80000000) { Notify (SF8, Arg1) }
		}
	}

	Scope (\_GPE)
	{
		Method (_E01)
		{
			\_SB.PCI0.TELL (\_SB.PCI0.HPUP, 1)
			\_SB.PCI0.TELL (\_SB.PCI0.HPDN, 3)
		}
	}
}
