# A boot sector that shows what it is told to: for each key pressed it sets the video mode of the
# table below with that key and fills the screen with a pattern, then says so on port 0x402, where
# the test listens. No operating system: a mode takes milliseconds.
#
#   as --32 screens.S -o screens.o && objcopy -O binary -j .text screens.o screens.img

        .code16
        .text
start:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        cld
        movw    $0x0201, %ax            # read the second sector, which is the table
        movw    $0x0002, %cx
        xorb    %dh, %dh                # dl: the boot drive
        movw    $0x7e00, %bx
        int     $0x13
        movw    $0x0001, %bp            # seed of the pattern
        call    ready
next:
        xorw    %ax, %ax
        int     $0x16                   # key in al
        movw    $0x7e00, %si
find:
        movb    (%si), %cl
        testb   %cl, %cl
        jz      next
        cmpb    %al, %cl
        je      found
        addw    $8, %si
        jmp     find
found:                                  # si: key, kind, mode, banks, extra
        pushw   %si
        movw    2(%si), %ax
        movw    %ax, %bx
        cmpb    $'v', 1(%si)
        jne     bios
        movw    $0x4f02, %ax
bios:
        int     $0x10
        popw    %si
        movw    6(%si), %bx             # 8x8 font in text modes: 50 rows
        testw   %bx, %bx
        jz      drawn_font
        pushw   %si
        movw    %bx, %ax
        xorw    %bx, %bx
        int     $0x10
        popw    %si
drawn_font:
        xorw    %dx, %dx                # bank
bank:
        movb    1(%si), %cl
        cmpb    $'v', %cl
        jne     not_vbe
        pushw   %dx
        movw    $0x4f05, %ax
        xorw    %bx, %bx
        int     $0x10
        popw    %dx
not_vbe:
        movw    $0xa000, %ax
        cmpb    $'t', %cl
        jne     window
        movw    $0xb800, %ax
window:
        movw    %ax, %es
        cmpb    $'p', %cl               # planar: bank n is plane n
        jne     fill
        pushw   %dx
        movb    %dl, %cl
        movb    $1, %ah
        shlb    %cl, %ah
        movb    $2, %al
        movw    $0x3c4, %dx
        outw    %ax, %dx
        popw    %dx
fill:
        xorw    %di, %di
        movw    $0x4000, %cx            # words of a text window; all of it for the others twice
        cmpb    $'t', 1(%si)
        je      words
        movw    $0x8000, %cx
words:
        movw    %bp, %ax
        imulw   $25173, %ax, %ax
        addw    $13849, %ax
        movw    %ax, %bp
        xorb    %ah, %al
        stosw
        loop    words
        incw    %dx
        cmpw    4(%si), %dx
        jb      bank
        call    ready
        jmp     next

ready:
        movw    $0x402, %dx
        movb    $'R', %al
        outb    %al, %dx
        movb    $10, %al
        outb    %al, %dx
        ret

        .org    510
        .word   0xaa55

# key, kind ('t'ext, 'p'lanar, 'l'inear, 'v'BE), mode, banks of 64 KiB or planes, font to load
        .macro  mode key, kind, number, banks, font=0
        .ascii  "\key\kind"
        .word   \number, \banks, \font
        .endm
        mode    a, t, 0x03, 1           # text 80x25, 9 dots
        mode    b, t, 0x03, 1, 0x1112   # text 80x50
        mode    c, t, 0x01, 1           # text 40x25
        mode    d, p, 0x12, 4           # 640x480, 16 colours
        mode    e, p, 0x0d, 4           # 320x200, 16 colours
        mode    f, l, 0x13, 1           # 320x200, 256 colours
        mode    g, t, 0x04, 1           # CGA, 4 colours
        mode    h, t, 0x06, 1           # CGA, 2 colours
        mode    i, v, 0x101, 5          # 640x480x8
        mode    j, v, 0x110, 10         # 640x480x15
        mode    k, v, 0x111, 10         # 640x480x16
        mode    l, v, 0x112, 15         # 640x480x24
        mode    m, v, 0x142, 19         # 640x480x32
        mode    n, v, 0x117, 24         # 1024x768x16
        mode    o, p, 0x6a, 4           # 800x600, 16 colours
        mode    q, v, 0x103, 8          # 800x600x8
        mode    r, v, 0x115, 22         # 800x600x24
        mode    s, p, 0x10, 4           # 640x350, 16 colours
        mode    u, v, 0x144, 48         # 1024x768x32
        mode    w, v, 0x102, 1          # 800x600x4
        .byte   0
        .org    1024
