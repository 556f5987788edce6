"""Where labelled specimens come from: folders of pictures, datasets of nights, the virtual slide.

Face: `emulated`, `objects`, `pictures`, `places`, `table`.
"""
