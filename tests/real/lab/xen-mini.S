# A paravirtual guest of Xen small enough to be a sample: no operating system, 4 MiB, one vCPU.
#
# It gives some pages back, writes into every other page that it is free to use which one that is, tells the
# toolstack where its p2m list lies, says "MINI-READY" on its console and spins with known registers. When
# something is typed there, it unmaps what is not its own and suspends.
#
#   as xen-mini.S -o mini.o && ld --section-start=.note.Xen=0x100000 -Ttext=0x101000 -e start mini.o -o mini
#
# Structures and numbers: xen/include/public of Xen (xen.h, elfnote.h, memory.h, sched.h, event_channel.h,
# io/console.h). Physical and virtual addresses are the same.

        # of start_info
        .set    nr_pages, 32
        .set    shared_info, 40         # machine address
        .set    console_mfn, 72
        .set    console_port, 80
        .set    mfn_list, 104
        # of shared_info
        .set    max_pfn, 3088
        .set    frame_list_list, 3096
        # of the console's page
        .set    out, 1024
        .set    in_prod, 3076
        .set    out_prod, 3084
        # hypercalls
        .set    memory_op, 12
        .set    update_va_mapping, 14
        .set    sched_op, 29
        .set    event_channel_op, 32

        .macro  note type, text:vararg
        .long   4, 2f - 1f, \type
        .asciz  "Xen"
1:      \text
2:      .balign 4
        .endm

        .section .note.Xen, "a", @note
        note    5, .asciz "xen-3.0"     # version of the interface
        note    6, .asciz "vmconvert"   # guest
        note    8, .asciz "generic"     # loader
        note    1, .quad start          # entry
        note    3, .quad 0              # virtual base
        note    4, .quad 0              # physical addresses are the same

        .macro  hypercall number
        movl    $\number, %eax
        syscall                         # changes rcx and r11
        .endm

        .text
        .globl  start
start:                                  # rsi: start_info
        cld
        movq    %rsi, %rbp
        movq    mfn_list(%rbp), %r15

        movq    $shared, %rdi           # shared_info in place of a page of ours
        movq    %rdi, %rax
        shrq    $12, %rax
        movq    (%r15,%rax,8), %r14     # its own frame
        movq    shared_info(%rbp), %rsi
        orq     $0x67, %rsi
        movl    $2, %edx                # flush the address
        hypercall update_va_mapping

        movq    $holes, %rbx            # unmap and give back
1:      movzwq  (%rbx), %r12
        testq   %r12, %r12
        jz      2f
        movq    %r12, %rdi
        shlq    $12, %rdi
        xorl    %esi, %esi
        movl    $2, %edx
        hypercall update_va_mapping
        leaq    (%r15,%r12,8), %rdx
        movq    (%rdx), %rax
        movq    %rax, frame
        movl    $1, %edi                # XENMEM_decrease_reservation
        movq    $reservation, %rsi
        movq    %rdx, %r13
        hypercall memory_op
        movq    $-1, (%r13)
        addq    $2, %rbx
        jmp     1b
2:
        xorl    %ebx, %ebx              # the first MiB, and what lies behind the boot stack
        movl    $0x100, %ecx
        call    mark
        leaq    0xfff(%rsp), %rbx
        shrq    $12, %rbx
        movq    nr_pages(%rbp), %rcx
        call    mark

        movq    %r15, %rdi              # the list has two pages, whose frames are in list, whose frame is in lists
        call    frame_of
        movq    %rax, list
        leaq    4096(%r15), %rdi
        call    frame_of
        movq    %rax, list + 8
        movq    $list, %rdi
        call    frame_of
        movq    %rax, lists
        movq    $lists, %rdi
        call    frame_of
        movq    %rax, shared + frame_list_list
        movq    nr_pages(%rbp), %rax
        movq    %rax, shared + max_pfn

        movq    console_mfn(%rbp), %rax # the console's page is one of ours
        xorl    %edx, %edx
1:      cmpq    %rax, (%r15,%rdx,8)
        je      2f
        incq    %rdx
        jmp     1b
2:      shlq    $12, %rdx
        leaq    out(%rdx), %rdi
        movq    $ready, %rsi
        movl    $ready_end - ready, %ecx
        movl    %ecx, out_prod(%rdx)
        rep movsb
        movq    %rdx, %r13
        movl    console_port(%rbp), %eax
        movl    %eax, port
        movl    $4, %edi                # EVTCHNOP_send
        movq    $port, %rsi
        hypercall event_channel_op

        movabsq $0x1111222233334444, %rax
        movabsq $0x5555666677778888, %rbx
        movabsq $0x9999aaaabbbbcccc, %rcx
        movabsq $0xddddeeeeffff0000, %rdx
        movabsq $0x0123456789abcdef, %rsi
        movabsq $0xfedcba9876543210, %rdi
        movabsq $0x0808080808080808, %r8
        movabsq $0x0909090909090909, %r9
        movabsq $0x1010101010101010, %r10
        movabsq $0x1212121212121212, %r12
1:      cmpl    $0, in_prod(%r13)
        je      1b

        movq    $shared, %rdi
        movq    %r14, %rsi
        shlq    $12, %rsi
        orq     $0x67, %rsi
        movl    $2, %edx
        hypercall update_va_mapping
        movq    %rbp, %rdi
        call    frame_of
        movq    %rax, %rdx              # where whoever restores the guest looks for start_info
        movl    $2, %edi                # SCHEDOP_shutdown
        movq    $suspend, %rsi
        hypercall sched_op
1:      jmp     1b

# rdi: address; rax: its machine frame
frame_of:
        shrq    $12, %rdi
        movq    (%r15,%rdi,8), %rax
        ret

# Pages rbx up to rcx: their number at the beginning, and inverted at the end.
mark:   movabsq $0x564d434f4e560000, %r12
1:      cmpq    %rcx, %rbx
        jae     2f
        cmpq    $-1, (%r15,%rbx,8)
        je      3f
        movq    %rbx, %rdi
        shlq    $12, %rdi
        leaq    (%r12,%rbx), %rax
        movq    %rax, (%rdi)
        notq    %rax
        movq    %rax, 4088(%rdi)
3:      incq    %rbx
        jmp     1b
2:      ret

        .data
reservation:
        .quad   frame, 1                # extents
        .long   0, 0                    # order, flags
        .word   0x7ff0                  # DOMID_SELF
        .balign 8
frame:  .quad   0
suspend:
        .long   2
port:   .long   0
holes:  .word   0x10, 0x20, 0x21, 0x22, 0xff, 0x280, 0x300, 0x301, 0x3fe, 0
ready:  .ascii  "MINI-READY\r\n"
ready_end:
        .balign 4096
shared: .fill   4096
list:   .fill   4096
lists:  .fill   4096
