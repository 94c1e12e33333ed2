/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of KVM's exit reasons, as in Documentation/virt/kvm/api.rst of the
 * Linux kernel, section 5. Any thread.
 */
#include <linux/kvm.h>

#include "report.h"
#include "vcpu.h"

/* Numbers newer than the oldest headers this builds with. */
#ifndef KVM_EXIT_LOONGARCH_IOCSR
#define KVM_EXIT_LOONGARCH_IOCSR 38
#endif
#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39
#endif
#ifndef KVM_EXIT_TDX
#define KVM_EXIT_TDX 40
#endif

#define EXIT(reason, text) [KVM_EXIT_##reason] = { #reason, text }

static const struct {
	const char *name;
	const char *words;
} exits[] = {
	EXIT(UNKNOWN, "a hardware exit that KVM does not know"),
	EXIT(EXCEPTION, "an exception that KVM does not handle"),
	EXIT(IO, "port I/O"),
	EXIT(HYPERCALL, "hypercall"),
	EXIT(DEBUG, "breakpoint or single step"),
	EXIT(HLT, "halt"),
	EXIT(MMIO, "memory-mapped I/O"),
	EXIT(IRQ_WINDOW_OPEN, "ready for an interrupt"),
	EXIT(SHUTDOWN, "triple fault"),
	EXIT(FAIL_ENTRY, "the processor refused to enter the guest"),
	EXIT(INTR, "interrupted by a signal"),
	EXIT(SET_TPR, "task priority set"),
	EXIT(TPR_ACCESS, "task priority accessed"),
	EXIT(S390_SIEIC, "s390 interception"),
	EXIT(S390_RESET, "s390 reset"),
	EXIT(DCR, "PowerPC device control register"),
	EXIT(NMI, "non-maskable interrupt"),
	EXIT(INTERNAL_ERROR, "KVM cannot go on"),
	EXIT(OSI, "PowerPC OSI call"),
	EXIT(PAPR_HCALL, "PowerPC hypercall"),
	EXIT(S390_UCONTROL, "s390 user control"),
	EXIT(WATCHDOG, "watchdog"),
	EXIT(S390_TSCH, "s390 test subchannel"),
	EXIT(EPR, "PowerPC external proxy"),
	EXIT(SYSTEM_EVENT, "system event"),
	EXIT(S390_STSI, "s390 system information"),
	EXIT(IOAPIC_EOI, "end of interrupt for the IOAPIC"),
	EXIT(HYPERV, "Hyper-V enlightenment"),
	EXIT(ARM_NISV, "Arm access without syndrome"),
	EXIT(X86_RDMSR, "MSR read"),
	EXIT(X86_WRMSR, "MSR write"),
	EXIT(DIRTY_RING_FULL, "dirty ring full"),
	EXIT(AP_RESET_HOLD, "processor held in reset"),
	EXIT(X86_BUS_LOCK, "bus lock"),
	EXIT(XEN, "Xen hypercall"),
	EXIT(RISCV_SBI, "RISC-V SBI call"),
	EXIT(RISCV_CSR, "RISC-V CSR access"),
	EXIT(NOTIFY, "the guest kept interrupts from being delivered"),
	EXIT(LOONGARCH_IOCSR, "LoongArch IOCSR access"),
	EXIT(MEMORY_FAULT, "an access to guest memory that cannot be resolved"),
	EXIT(TDX, "TDX call"),
};

#define N_EXITS (sizeof(exits) / sizeof(exits[0]))

const char *kvm_exit_name(uint32_t reason)
{
	return reason < N_EXITS && exits[reason].name ? exits[reason].name : "unknown";
}

const char *kvm_exit_words(uint32_t reason)
{
	return reason < N_EXITS && exits[reason].name ? exits[reason].words
						      : "an exit of a newer KVM than is known here";
}
