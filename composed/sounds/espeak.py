"""One eSpeak NG voice speaking lines of text: `python espeak.py LIBRARY DATA VOICE RATE PITCH RANGE < lines > audio`.

A command of its own, with nothing but the standard library and the eSpeak NG library, because what eSpeak NG
says depends on what its process said before: a fresh process that speaks fixed lines is reproducible.
The output is one line with the sample rate and the number of samples of every text line, then all samples as int16.
"""

import ctypes
import sys

# Numbers of eSpeak NG's C interface (speak_lib.h).
AUDIO_OUTPUT_SYNCHRONOUS = 2
PARAMETER_RATE, PARAMETER_PITCH, PARAMETER_RANGE = 1, 3, 4
CHARS_UTF8 = 1
POSITION_CHARACTER = 1
BYTES_PER_SAMPLE = 2
SEED = 1


def main(library_path: str, data_path: str, name: str, rate: str, pitch: str, pitch_range: str) -> None:
    """Speaks the lines of standard input; the numbers are words a minute and 0 to 100 for pitch and its range."""
    library = ctypes.CDLL(library_path)
    sample_rate = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, data_path.encode(), 0)
    audio = bytearray()

    def receive(samples: int | None, count: int, _events: int) -> int:
        if samples and count > 0:
            audio.extend(ctypes.string_at(samples, BYTES_PER_SAMPLE * count))
        return 0

    # The callback must live as long as the library may call it.
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(receive)
    library.espeak_SetSynthCallback(callback)
    if sample_rate <= 0 or library.espeak_SetVoiceByName(name.encode()) != 0:
        sys.exit("the library or the voice did not load")
    library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))  # otherwise the time of day, which voices with breath make heard
    for parameter, value in ((PARAMETER_RATE, rate), (PARAMETER_PITCH, pitch), (PARAMETER_RANGE, pitch_range)):
        library.espeak_SetParameter(parameter, int(value), 0)
    lengths = []
    for line in sys.stdin:
        before = len(audio)
        text = line.encode() + b"\0"
        library.espeak_Synth(text, len(text), 0, POSITION_CHARACTER, 0, CHARS_UTF8, None, None)
        library.espeak_Synchronize()
        lengths.append((len(audio) - before) // BYTES_PER_SAMPLE)
    sys.stdout.buffer.write(" ".join(map(str, (sample_rate, *lengths))).encode() + b"\n" + audio)


if __name__ == "__main__":
    main(*sys.argv[1:])
