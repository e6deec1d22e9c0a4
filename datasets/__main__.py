"""Make every model and data set that ships: ``python -m datasets [--quick] [--folder FOLDER]``."""

from . import make_clinics, make_digit_models, make_sign_ensemble, make_sign_models

if __name__ == "__main__":
    make_digit_models.main()
    make_sign_models.main()
    make_sign_ensemble.main()
    make_clinics.main()
